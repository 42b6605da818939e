"""What this process's own unit may take of its machine, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108
_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# Files of the most and of what is used, in the one hierarchy of cgroup v2 and in the controller's own of v1.
_FILES = {
    "memory": (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    "pids": (("pids.max", "pids.current"), ("pids.max", "pids.current")),
}
_NO_LIMIT = 2**60  # v1 shows no limit of memory as the greatest number of whole pages


class Use(NamedTuple):
    """How much is in use, and how much may be."""

    used: int
    most: int


def home() -> str:
    """Return the researcher's home."""
    return os.path.expanduser("~")  # noqa: PTH111  (the variable HOME, as the unit has it)


def temporary_directories() -> list[str]:
    """Return the temporary directories that are the unit's own."""
    return [path for path in TEMPORARY if os.path.ismount(path)]


def disk(path: str) -> Use:
    """Return what the file system of a path holds."""
    room = os.statvfs(path)
    return Use((room.f_blocks - room.f_bavail) * room.f_frsize, room.f_blocks * room.f_frsize)


def limit(controller: str, own: Path = _OWN, cgroups: Path = _CGROUPS) -> Use | None:
    """Return the limit that is reached first: the unit's own or that of a slice which it is in.

    Args:
        controller: ``memory`` (bytes) or ``pids`` (processes and threads).
        own: the process's ``/proc/PID/cgroup``.
        cgroups: where cgroups are.

    Returns:
        None where the kernel shows no limit to this process.
    """
    found: list[Use] = []
    for folder, (most_file, used_file) in _folders(controller, own, cgroups):
        try:
            most, used = ((folder / name).read_text().strip() for name in (most_file, used_file))
        except OSError:
            continue  # the root of a hierarchy has no limits
        if most != "max" and int(most) < _NO_LIMIT:
            found.append(Use(int(used), int(most)))
    return min(found, key=lambda use: use.most - use.used, default=None)


def _folders(controller: str, own: Path, cgroups: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Yield the cgroup of the process and all that it is in, innermost first, with the names of their files."""
    unified, single = _FILES[controller]
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" and (cgroups / "cgroup.controllers").exists():
            root, files = cgroups, unified
        elif controller in controllers.split(","):
            root, files = cgroups / controller, single
        else:
            continue
        parts = Path(path).parts[1:]
        # In a container the path may begin outside of what is mounted here.
        while parts and not (root / Path(*parts)).is_dir():
            parts = parts[1:]
        for length in range(len(parts), 0, -1):
            yield root / Path(*parts[:length]), files
