"""Promises that the documents keep: links lead somewhere, pages are found, decisions have one form."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"(?ms)^```.*?^```|`[^`\n]*`")


def pages() -> list[Path]:
    """The tree's Markdown files: what git knows, and what it would take up."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [PROJECT / name for name in sorted(set(listed.split("\0"))) if name and (PROJECT / name).is_file()]


PAGES = pages()


def base(page: Path) -> Path:
    """Where a page's links start from. Fragments of the changelog become part of the file in the root."""
    return PROJECT if page.parent.name == "changes" and page.name != "README.md" else page.parent


def links(page: Path) -> list[tuple[Path, str]]:
    """The files, and the headings within them, that a page's relative links name."""
    text = CODE.sub("", page.read_text())
    inner = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    parts = [link.partition("#") for link in inner]
    return [((base(page) / path).resolve() if path else page, heading) for path, _, heading in parts]


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links: as the common forges make it."""
    headings = re.findall(r"(?m)^#+ (.*)$", CODE.sub(lambda code: code[0].strip("`"), page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_relative_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    broken = [
        f"{path.relative_to(PROJECT)}#{heading}"
        for path, heading in links(page)
        if not path.exists() or (heading and heading not in anchors(path))
    ]
    assert broken == []


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [PROJECT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.suffix == ".md" and page.is_file():
            waiting += [path for path, _ in links(page)]
    documents = {path for path in (PROJECT / "docs").rglob("*") if path.is_file()}
    documents |= {path for path in PAGES if path.parent == PROJECT}
    assert sorted(str(path.relative_to(PROJECT)) for path in documents - reached) == []


@pytest.mark.parametrize(
    ("page", "named"),
    [("docs/architecture.md", r"(?m)^\| `appliance/(\w+)/`"), ("README.md", r"(?m)^  (\w+)/ ")],
    ids=["architecture", "readme"],
)
def test_a_page_that_shows_the_rooms_shows_all_of_them_and_no_other(page: str, named: str) -> None:
    rooms = {path.parent.name for path in (PROJECT / "appliance").glob("*/__init__.py")}
    assert set(re.findall(named, (PROJECT / page).read_text())) == rooms


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    """In SECURITY.md, promises stand with the tests that hold them."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (PROJECT / file).is_file() or (name and f"def {name}(" not in (PROJECT / file).read_text())
    ]
    assert missing == []


DECISIONS = sorted((PROJECT / "docs/decisions").glob("*.md"))


def test_decisions_are_numbered_without_a_gap() -> None:
    assert DECISIONS
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_a_day_its_reasons_its_alternatives_and_what_holds_it(page: Path) -> None:
    text = page.read_text()
    assert re.search(r"\A# [^\n]+\n\n20\d\d-\d\d-\d\d(, [^\n]+)?\n\n## Context\n", text)
    assert re.findall(r"(?m)^## (.*)$", text) == ["Context", "Decision", "Alternatives", "Measured", "Held by"]
    sections = re.split(r"(?m)^## .*$", text)[1:]
    assert all(section.strip() for section in sections)


def test_the_glossary_is_in_alphabetical_order_and_names_each_word_once() -> None:
    words = re.findall(r"(?m)^\*\*([^*]+)\*\*", (PROJECT / "docs/glossary.md").read_text())
    assert words
    keys = [re.sub(r"[^a-z0-9 ]", "", word.lower()) for word in words]
    assert keys == sorted(set(keys))
