"""Lock files in pip's format: names, exact versions, hashes, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.depot.errors import DepotError

_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)\s*(?:;.*)?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def normalise(name: str) -> str:
    """A package's name as the packaging standard compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Requirement:
    """One locked package: its normalised name, its version and the hashes of all files that may stand for it."""

    name: str
    version: str
    hashes: frozenset[str]
    text: str
    """As it stands in the lock, for handing to pip."""


def parse(path: Path) -> list[Requirement]:
    """Read a lock file.

    Raises:
        DepotError: a line is no pinned requirement with hashes (an address, an option, a version range).
    """
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        hashes = frozenset(_HASH.findall(line))
        match = _REQUIREMENT.match(_HASH.sub("", line).strip())
        if match is None or not hashes:
            raise DepotError(
                f"{path}: entry {number} is {line[:80]!r}, not NAME==VERSION with hashes; make it anew: `make lock`"
            )
        found.append(Requirement(normalise(match[1]), match[2], hashes, line))
    return found
