"""Releases: this repository's record holds, and what makes and checks one is tried on small repositories."""

from __future__ import annotations

import datetime
import importlib.metadata
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.version import Version

from appliance.cli import main
from appliance.release import make, record
from appliance.release.errors import ReleaseError
from appliance.release.repository import Repository

PROJECT = Path(__file__).parents[3]
DAY = datetime.date(2026, 11, 25)
FIRST = Version("0.1.0")


def kinds() -> set[str]:
    """The kinds of fragments that towncrier is told of."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    return {kind["directory"] for kind in settings["tool"]["towncrier"]["type"]}


def test_the_record_agrees_with_this_repositorys_history() -> None:
    assert record.faults(Repository(PROJECT)) == []


def test_every_fragment_is_named_so_that_it_is_found() -> None:
    named = re.compile(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(sorted(kinds()))})\.md")
    unnamed = {path.name for path in (PROJECT / "changes").iterdir() if not named.fullmatch(path.name)}
    assert unnamed == {"README.md", "template.md.jinja"}


def test_the_page_about_fragments_names_all_kinds_and_no_other() -> None:
    page = (PROJECT / "changes/README.md").read_text()
    assert set(re.findall(r"(?m)^\| `([a-z]+)` \|", page)) == kinds()


def test_the_command_says_the_version_that_is_installed() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0
    assert result.output.split()[-1] == importlib.metadata.version("appliance")


@pytest.fixture(scope="module")
def first_commits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this one's changelog settings, one fragment and no release."""
    root = tmp_path_factory.mktemp("first") / "project"
    (root / "changes").mkdir(parents=True)
    settings = (PROJECT / "pyproject.toml").read_text().partition("[tool.towncrier]")[2]
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "small"\nversion = "0.1.0.dev0"\n\n[tool.towncrier]{settings}'
    )
    for name in ("template.md.jinja", "README.md"):
        shutil.copyfile(PROJECT / "changes" / name, root / "changes" / name)
    (root / "CHANGELOG.md").write_text("# Changelog\n\n<!-- towncrier release notes start -->\n")
    (root / "releases.toml").write_text("# The releases.\n")
    repository = Repository(root)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.git("config", "user.name", "Maintainer")
    repository.git("config", "user.email", "maintainer@example.org")
    change(repository, "first.added.md", "The first thing.")
    return root


@pytest.fixture(scope="module")
def first_release(first_commits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with release 0.1.0."""
    root = tmp_path_factory.mktemp("released") / "project"
    shutil.copytree(first_commits, root)
    make.make(Repository(root), FIRST, DAY)
    return root


@pytest.fixture
def repository(first_commits: Path, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(first_commits, tmp_path / "project"))


@pytest.fixture
def released(first_release: Path, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(first_release, tmp_path / "project"))


def change(repository: Repository, name: str, text: str) -> None:
    """Commit a fragment."""
    (repository.root / "changes" / name).write_text(text + "\n")
    commit(repository, f"Add {name}")


def commit(repository: Repository, message: str) -> str:
    """Commit everything; the new commit's hash."""
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", message)
    return repository.git("rev-parse", "HEAD").strip()


def test_a_release_is_two_commits_of_which_the_second_names_the_first(repository: Repository) -> None:
    change(repository, "ports.upgrade.md", "Name the ports.")
    made = make.make(repository, FIRST, DAY)

    assert repository.git("log", "--format=%s", "-2").splitlines() == [
        "Record release 0.1.0, begin 0.2.0.dev0",
        "Release 0.1.0",
    ]
    assert made == record.Release(FIRST, DAY, repository.git("rev-parse", "HEAD~1").strip())
    assert record.read(repository) == [made]
    assert record.faults(repository) == []
    assert repository.git("status", "--porcelain") == ""


def test_the_changelog_of_a_release_holds_the_fragments_and_the_tree_no_more(repository: Repository) -> None:
    change(repository, "ports.upgrade.md", "Name the ports.")
    change(repository, "first-fault.fixed.md", "A fault.")
    make.make(repository, FIRST, DAY)

    assert (repository.root / "CHANGELOG.md").read_text() == (
        "# Changelog\n\n<!-- towncrier release notes start -->\n\n"
        "## 0.1.0 (2026-11-25)\n\n"
        "### What an upgrade asks of operators\n\n- Name the ports.\n\n"
        "### Added\n\n- The first thing.\n\n"
        "### Fixed\n\n- A fault.\n"
    )
    assert sorted(path.name for path in (repository.root / "changes").iterdir()) == ["README.md", "template.md.jinja"]


def test_a_second_release_stands_above_the_first_in_the_changelog_and_below_it_in_the_record(
    repository: Repository,
) -> None:
    first = make.make(repository, FIRST, DAY)
    change(repository, "second.added.md", "The second thing.")
    second = make.make(repository, Version("0.2.0"), DAY + datetime.timedelta(days=30))

    changelog = (repository.root / "CHANGELOG.md").read_text()
    assert re.findall("(?m)^## (.*)$", changelog) == ["0.2.0 (2026-12-25)", "0.1.0 (2026-11-25)"]
    assert record.read(repository) == [first, second]
    assert record.faults(repository) == []
    assert repository.version() == Version("0.3.0.dev0")


def test_a_release_that_was_interrupted_is_recorded_later(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = repository.root / ".git/hooks/commit-msg"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\n! grep "^Record" "$1"\n')
    hook.chmod(0o755)
    with pytest.raises(ReleaseError, match="git commit: "):
        make.make(repository, FIRST, DAY)
    hook.unlink()
    repository.git("restore", ".")
    released = repository.git("rev-parse", "HEAD").strip()
    assert record.read(repository) == []

    monkeypatch.chdir(repository.root)
    result = CliRunner().invoke(main, ["release", "record"])
    assert result.exit_code == 0, result.output
    assert result.output == f"0.1.0  2026-11-25  {released}\n"
    assert record.faults(repository) == []


def edited(repository: Repository) -> None:
    (repository.root / "CHANGELOG.md").write_text("# Another\n")


def untracked(repository: Repository) -> None:
    (repository.root / "notes.txt").write_text("mine\n")


def nothing_new(repository: Repository) -> None:
    (repository.root / "changes/first.added.md").unlink()
    commit(repository, "Remove the fragment")


def already_made(repository: Repository) -> None:
    make.make(repository, FIRST, DAY)
    change(repository, "more.added.md", "More.")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (edited, "not clean.*CHANGELOG.md"),
        (untracked, "not clean.*notes.txt"),
        (nothing_new, "no fragment"),
        (already_made, "0.1.0 does not follow 0.1.0"),
    ],
)
def test_a_tree_that_is_not_fit_for_a_release_stays_as_it_is(
    repository: Repository, spoil: Callable[[Repository], None], message: str
) -> None:
    spoil(repository)
    head, status = repository.git("rev-parse", "HEAD"), repository.git("status", "--porcelain")
    with pytest.raises(ReleaseError, match=f"(?s){message}"):
        make.make(repository, FIRST, DAY)
    assert (repository.git("rev-parse", "HEAD"), repository.git("status", "--porcelain")) == (head, status)


def test_only_a_release_commit_is_recorded(repository: Repository) -> None:
    repository.set_version(FIRST)
    commit(repository, "State the version")
    with pytest.raises(ReleaseError, match=r"the last commit is not 'Release 0\.1\.0'"):
        make.record_head(repository)
    assert repository.git("status", "--porcelain") == ""


@pytest.mark.parametrize("text", ["0.1", "0.1.0.dev0", "v0.1.0", "0.01.0", "1.0.0rc1", "", "0.1.0\n"])
def test_a_version_of_a_release_is_three_numbers(text: str) -> None:
    with pytest.raises(ReleaseError, match="three numbers"):
        record.release_version(text)


@pytest.mark.parametrize("version", ["0.1", "main"])
def test_the_command_refuses_a_version_in_one_line(version: str) -> None:
    result = CliRunner().invoke(main, ["release", "make", version])
    assert result.exit_code == 1
    assert result.output == f"Error: {version!r} is no version of a release: three numbers, such as 0.1.0\n"


def write_record(repository: Repository, *releases: record.Release) -> None:
    (repository.root / "releases.toml").write_text("".join(release.to_toml() for release in releases))


def faults_after(repository: Repository, **wrong: object) -> list[str]:
    """What is found once a right record has other values."""
    made = record.read(repository)[0]
    values = {"version": made.version, "date": made.date, "commit": made.commit, **wrong}
    write_record(repository, record.Release(**values))  # type: ignore[arg-type]
    return record.faults(repository)


def test_a_commit_that_is_nowhere_is_a_fault(released: Repository) -> None:
    assert faults_after(released, commit="0" * 40) == [f"0.1.0: commit {'0' * 40} is not in this repository"]


def test_a_hash_of_something_else_than_a_commit_is_a_fault(released: Repository) -> None:
    tree = released.git("rev-parse", "HEAD^{tree}").strip()
    assert faults_after(released, commit=tree) == [f"0.1.0: commit {tree} is not in this repository"]


def test_a_commit_of_another_branch_is_a_fault(released: Repository) -> None:
    released.git("checkout", "--quiet", "-b", "aside", "HEAD~1")
    (released.root / "notes.txt").write_text("aside\n")
    aside = commit(released, "Something aside")
    released.git("checkout", "--quiet", "main")
    assert faults_after(released, commit=aside) == [
        f"0.1.0: commit {aside} is not in the history of what is checked out"
    ]


def test_a_commit_with_another_version_is_a_fault(released: Repository) -> None:
    (made,) = record.read(released)
    head = released.git("rev-parse", "HEAD").strip()
    assert head != made.commit
    assert faults_after(released, commit=head) == ["0.1.0: pyproject.toml of its commit states 0.2.0.dev0"]


def test_a_commit_from_before_the_changelog_was_built_is_a_fault(repository: Repository) -> None:
    repository.set_version(FIRST)
    early = commit(repository, "State the version too early")
    make.make(repository, FIRST, DAY)
    assert faults_after(repository, commit=early) == [
        "0.1.0: CHANGELOG.md of its commit has no line '## 0.1.0 (2026-11-25)'"
    ]


def test_another_day_than_the_changelogs_is_a_fault(released: Repository) -> None:
    assert len(faults_after(released, date=DAY + datetime.timedelta(days=1))) == 2


def test_a_section_that_left_the_changelog_is_a_fault(released: Repository) -> None:
    (released.root / "CHANGELOG.md").write_text("# Changelog\n")
    assert record.faults(released) == ["0.1.0: CHANGELOG.md has no line '## 0.1.0 (2026-11-25)' any more"]


@pytest.mark.parametrize("stated", ["0.1.0", "0.0.9", "0.1.0.dev0"])
def test_another_tree_that_bears_a_version_that_was_released_is_a_fault(released: Repository, stated: str) -> None:
    released.set_version(Version(stated))
    (fault,) = record.faults(released)
    assert fault.startswith(f"pyproject.toml: {stated} is not later than release 0.1.0")


def test_a_shallow_clone_is_told_as_such(released: Repository, tmp_path: Path) -> None:
    (made,) = record.read(released)
    shallow = tmp_path / "shallow"
    command = ["git", "clone", "--quiet", "--depth=1", released.root.as_uri(), str(shallow)]
    subprocess.run(command, check=True)
    assert record.faults(Repository(shallow)) == [
        f"0.1.0: commit {made.commit} is not in this repository: the clone is shallow, fetch all of it"
    ]


HASH = "1" * 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[release]", "releases.toml: "),
        ('[[releases]]\nversion = "0.1.0"\n', "holds more than releases: releases"),
        ('[[release]]\nversion = "0.1.0"\n', "has version, date and commit"),
        (f'[[release]]\nversion = "0.1"\ndate = 2026-11-25\ncommit = "{HASH}"\n', "three numbers"),
        (f'[[release]]\nversion = "0.1.0"\ndate = "2026-11-25"\ncommit = "{HASH}"\n', "is no date"),
        ('[[release]]\nversion = "0.1.0"\ndate = 2026-11-25\ncommit = "abc1234"\n', "full hash"),
        ('[[release]]\nversion = "0.1.0"\ndate = 2026-11-25\ncommit = 1\n', "full hash"),
        (2 * f'[[release]]\nversion = "0.1.0"\ndate = 2026-11-25\ncommit = "{HASH}"\n', "0.1.0 stands after 0.1.0"),
    ],
)
def test_a_damaged_record_is_a_fault(repository: Repository, text: str, message: str) -> None:
    (repository.root / "releases.toml").write_text(text)
    (fault,) = record.faults(repository)
    assert message in fault
