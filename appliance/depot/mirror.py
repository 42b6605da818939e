"""Which Debian mirror this host uses: read from its own apt sources, never written into the project."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")

# A flat or third-party source has no such suite; `bookworm-security` and `stable-security` belong to another archive.
_SUITE = re.compile(r"^(?:(?:old)*stable|testing|unstable|sid|[a-z]+)$")
_SECURITY = re.compile(r"^[a-z]+(?:-security|/updates)$")


@dataclass(frozen=True)
class Source:
    """One archive that apt knows: its address without a trailing slash, and a suite of it."""

    uri: str
    suite: str
    components: tuple[str, ...]


@dataclass(frozen=True)
class Mirrors:
    """The two archives that the depot passes on; None where this host has no such source."""

    debian: str | None
    security: str | None


def _one_line(text: str) -> Iterator[Source]:
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        match = re.match(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)$", line)
        if match:
            yield Source(match[1].rstrip("/"), match[2], tuple(match[3].split()))


def _deb822(text: str) -> Iterator[Source]:
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields.setdefault(name, []).extend(line.split())
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.split()
        enabled = (fields.get("enabled") or ["yes"])[0].lower() not in ("no", "false", "0")
        if not enabled or "deb" not in fields.get("types", []):
            continue
        for uri in fields.get("uris", []):
            for suite in fields.get("suites", []):
                yield Source(uri.rstrip("/"), suite, tuple(fields.get("components", [])))


def sources(apt: Path = APT) -> list[Source]:
    """All enabled binary sources of apt's configuration, in apt's own order of files."""
    found: list[Source] = []
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    for file in files:
        if file.is_file() and file.suffix in (".list", ".sources"):
            text = file.read_text(encoding="utf-8", errors="replace")
            found.extend(_deb822(text) if file.suffix == ".sources" else _one_line(text))
    return found


def mirrors(found: Iterable[Source]) -> Mirrors:
    """The Debian archive among the sources, and its security archive.

    A Debian archive is told by component ``main``, a plain suite name and an address that ends in ``debian``: third
    parties use suites such as ``nodistro`` or addresses of their own. Only http and https can be passed on.
    """
    debian = security = None
    for source in found:
        if not source.uri.startswith(("http://", "https://")) or "main" not in source.components:
            continue
        if _SECURITY.match(source.suite) and security is None:
            security = source.uri
        elif debian is None and _SUITE.match(source.suite) and source.uri.endswith("/debian"):
            debian = source.uri
    return Mirrors(debian, security)
