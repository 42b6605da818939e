"""The wheels of the environments' locks: which are here, which are missing, and fetching those."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename

from appliance.depot.errors import DepotError
from appliance.depot.locks import LockedPackage

# What the machines of a rack run: Debian 13, CPython 3.13, glibc 2.41, x86_64.
PYTHON = "3.13"
_GLIBC = range(5, 42)
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in reversed(_GLIBC)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
)
_PARALLEL = 4
# pip begins with one of these lines for each package: from an index, or from an index of files on this host.
_BEGINS = re.compile(r"(?:Collecting|Processing (?:\S*/)?)\s*([A-Za-z0-9_.]+(?:-[A-Za-z_.]+)*)")


@dataclass(frozen=True)
class Wheel:
    """A wheel file of the depot."""

    file: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The package's name in its normalised form."""
        return parse_wheel_filename(self.file)[0]

    @property
    def version(self) -> str:
        """The package's version in its normalised form."""
        return str(parse_wheel_filename(self.file)[1])


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The depot's flat directory of wheels, with the hashes remembered by size and time of change."""

    def __init__(self, directory: Path, memory: Path) -> None:
        self.directory = directory
        self._memory = memory

    def wheels(self) -> list[Wheel]:
        """All wheels here, by name of file. A file that changed since it was last seen is hashed again."""
        known: dict[str, list[object]] = {}
        if self._memory.exists():
            try:
                known = json.loads(self._memory.read_text(encoding="utf-8"))
            except ValueError:
                known = {}
        found: list[Wheel] = []
        now: dict[str, list[object]] = {}
        for path in sorted(self.directory.glob("*.whl")):
            stat = path.stat()
            seen = known.get(path.name)
            fresh = seen is not None and seen[:2] == [stat.st_size, stat.st_mtime_ns]
            sha256 = str(seen[2]) if fresh and seen is not None else digest(path)
            now[path.name] = [stat.st_size, stat.st_mtime_ns, sha256]
            found.append(Wheel(path.name, sha256, stat.st_size))
        if now != known and os.access(self._memory.parent, os.W_OK):
            self._memory.write_text(json.dumps(now, indent=1), encoding="utf-8")
        return found

    def match(self, requirements: Iterable[LockedPackage]) -> tuple[dict[str, Wheel], list[LockedPackage]]:
        """Wheels for these requirements, by package name, and the requirements that none is here for.

        A file counts only if its hash is in the lock: one that was cut short or swapped is missing.
        """
        by_hash = {wheel.sha256: wheel for wheel in self.wheels()}
        here: dict[str, Wheel] = {}
        missing: list[LockedPackage] = []
        for requirement in requirements:
            wheel = next((by_hash[value] for value in sorted(requirement.hashes) if value in by_hash), None)
            if wheel is None:
                missing.append(requirement)
            else:
                here[requirement.name] = wheel
        return here, missing


def fetch(store: Store, missing: Sequence[LockedPackage], progress: Callable[[str], None]) -> list[Path]:
    """Download wheels for these requirements with pip, verified against the lock, into the store.

    Args:
        store: where they go. A file appears there whole, after its hash was checked.
        missing: what to fetch.
        progress: called with a package's name when its download begins (from several threads).

    Raises:
        DepotError: pip could not find or verify some; those that came stay in the store.
    """
    store.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.directory, prefix=".fetch-") as scratch:
        # Large and small dealt out in turn: four packs of about equal size without asking for sizes.
        packs = [pack for pack in (list(missing[start::_PARALLEL]) for start in range(_PARALLEL)) if pack]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            results = list(pool.map(lambda job: _pip(Path(scratch) / str(job[0]), job[1], progress), enumerate(packs)))
        allowed = frozenset[str]().union(*(requirement.hashes for requirement in missing))
        arrived = []
        for path in sorted(Path(scratch).glob("*/*.whl")):
            if digest(path) not in allowed:
                raise DepotError(f"{path.name}: its hash is not in the lock; nothing of it was kept")
            path.chmod(0o644)
            arrived.append(path.replace(store.directory / path.name))
    failures = [failure for failure in results if failure]
    if failures:
        raise DepotError("\n".join(failures))
    return arrived


def _pip(target: Path, pack: Sequence[LockedPackage], progress: Callable[[str], None]) -> str | None:
    target.mkdir()
    wanted = target / "requirements.txt"
    wanted.write_text("\n".join(requirement.text for requirement in pack) + "\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--progress-bar", "off"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--implementation", "cp"),
        *("--python-version", PYTHON),
        *(word for platform in PLATFORMS for word in ("--platform", platform)),
        *("--dest", str(target), "--requirement", str(wanted)),
    ]
    said = []
    # Unbuffered: otherwise pip's warnings land in the middle of the lines that progress is read from.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - opened as a pipe in the line above
        for line in process.stdout:
            said.append(line)
            if match := _BEGINS.match(line):
                progress(match[1])
    if process.returncode == 0:
        return None
    errors = [line.strip() for line in said if line.startswith("ERROR")] or [line.strip() for line in said[-5:]]
    return "pip could not fetch: " + " ".join(errors)
