"""Lock files in pip's format: names, exact versions, hashes, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from appliance.depot.errors import DepotError

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class LockedPackage:
    """One locked package: its normalised name, its version and the hashes of all files that may stand for it."""

    name: str
    version: str
    hashes: frozenset[str]
    text: str
    """As it stands in the lock, for handing to pip."""


def _pinned(text: str) -> tuple[str, str] | None:
    """Name and version of a requirement that allows one version only, or None."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    clauses = list(requirement.specifier)
    if requirement.url or len(clauses) != 1 or clauses[0].operator != "==" or clauses[0].version.endswith("*"):
        return None
    return canonicalize_name(requirement.name), clauses[0].version


def parse(path: Path) -> list[LockedPackage]:
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
        pinned = _pinned(_HASH.sub("", line).strip())
        if pinned is None or not hashes:
            raise DepotError(
                f"{path}: entry {number} is {line[:80]!r}, not NAME==VERSION with hashes; make it anew: `make lock`"
            )
        found.append(LockedPackage(*pinned, hashes, line))
    return found
