"""Saved racks: their records, their disks, and the layers that they share with racks that came back from them.

A saved rack is a folder of its record, keys, secrets and disks. What its machines had of their own is not copied: it
becomes a layer, which nothing writes to any more, below the saved rack and below each rack that came back from it. A
layer goes when neither names it any longer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.rack.model import LOCKS, Machine, Rack, RackError, layer_dir, load, state_root
from appliance.rack.origin import Origin
from appliance.rack.shell import run

NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,31}")
RECORD = "saved.json"
DRAFT = ".draft"  # no saved rack's name has a dot


@dataclass(frozen=True)
class Saved:
    """A rack that was saved: its shape and layers, what it was made from, when (UTC), and its bytes on disk."""

    name: str
    rack: Rack
    origin: Origin
    when: str
    size: int

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return folder_of(self.name)

    def disks(self) -> list[Path]:
        """Return the files of its machines' disks."""
        return sorted(disk for machine in self.rack.machines() for disk in kept_disks(self.folder, machine).values())

    def disk_bytes(self) -> int:
        """Return what a copy of its disks takes."""
        return sum(disk.stat().st_blocks * 512 for disk in self.disks() if disk.exists())

    def missing(self) -> list[Path]:
        """Return what a rack that comes back from it would lack."""
        wanted = [Path(self.rack.tree), *(layer_dir(layer) for layer in self.rack.layers), *self.disks()]
        return [path for path in wanted if not path.exists()]


def kept_disks(folder: Path, machine: Machine) -> dict[Path, Path]:
    """Return the machine's disks, each with the place of its copy in the folder of a saved rack."""
    return {machine.folder / disk: folder / disk for disk in machine.disks}


def root() -> Path:
    """Return the folder of saved racks."""
    return state_root() / "saved"


def folder_of(name: str) -> Path:
    """Return the folder of the saved rack called ``name``; refuse what is no such name.

    Raises:
        RackError: ``name`` is none.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise RackError(f"NAME {name!r}: use 1 to 32 lower-case letters, digits and hyphens, a letter first")
    return root() / name


def find(name: str) -> Saved:
    """Return the saved rack called ``name``.

    Raises:
        RackError: there is none (the message names those that there are), or its record cannot be read.
    """
    path = folder_of(name) / RECORD
    try:
        stored = json.loads(path.read_text())
        return Saved(
            name=name,
            rack=Rack.from_json(stored["rack"]),
            origin=Origin(**stored["origin"]),
            when=stored["when"],
            size=stored["size"],
        )
    except FileNotFoundError:
        there = ", ".join(names()) or "none"
        raise RackError(
            f"there is no saved rack {name!r} (saved: {there}); `appliance rack save NAME` saves one"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise RackError(f"{path}: {error!r}; `appliance rack forget {name}` removes it") from error


def names() -> list[str]:
    """Return the names of all saved racks; one that is half written has none yet."""
    return sorted(path.name for path in root().glob("*") if NAME_PATTERN.fullmatch(path.name))


@contextlib.contextmanager
def draft(name: str) -> Iterator[Path]:
    """Make the folder of a new saved rack, which appears under its name once it is whole and on the disk.

    Drafts that aborted runs left are removed. Only under `only_one`.

    Yields:
        The folder to write to.
    """
    for folder in (root(), layer_dir("")):
        # Disks, keys and homes: a user of this host may have the number of a researcher, and is somebody else.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in root().glob(f"*{DRAFT}"):
        shutil.rmtree(left)
    made = root() / f"{name}{DRAFT}"
    made.mkdir(mode=0o700)
    try:
        yield made
        # All of the file system at once: the layers' files were written by machines that have ended.
        run("sync", "--file-system", str(made), timeout=None)
        made.rename(folder_of(name))
    except BaseException:
        shutil.rmtree(made)
        raise
    run("sync", str(root()))


def write_record(folder: Path, saved: Saved) -> None:
    """Write the record of ``saved`` into its draft's folder."""
    stored = {"rack": asdict(saved.rack), "origin": asdict(saved.origin), "when": saved.when, "size": saved.size}
    (folder / RECORD).write_text(json.dumps(stored, indent=2) + "\n")


def add_layer(rack: Rack, layer: str) -> None:
    """Make a layer of what the machines of ``rack``, which are off, have of their own. ``rack`` names it already.

    So an abort leaves some machines with the layer and others with their files as they were, and each is whole.
    """
    folder = layer_dir(layer)
    folder.mkdir()
    for machine in rack.machines():
        machine.upper.rename(folder / machine.name)


def size_of(rack: Rack, folder: Path) -> int:
    """Return the bytes on the disk of a saved rack in ``folder`` and of its layers, shared or not."""
    told = run("du", "--summarize", "--block-size=1", str(folder), *map(str, map(layer_dir, rack.layers)), timeout=None)
    return sum(int(line.split()[0]) for line in told.splitlines())


def forget(name: str) -> None:
    """Remove the saved rack called ``name``, and its layers that no other and no rack lies on.

    Raises:
        RackError: there is none.
    """
    folder = folder_of(name)
    with only_one():
        if not folder.exists():
            find(name)  # says so
        # A rename first: an aborted removal leaves no saved rack that lacks its disks.
        gone = folder.with_name(f"{name}{DRAFT}")
        if gone.exists():
            shutil.rmtree(gone)
        folder.rename(gone)
        shutil.rmtree(gone)
        collect()


def collect() -> None:
    """Remove the layers that no rack and no saved rack lies on. Only under `only_one`.

    Nothing is removed while a record cannot be read, for it may name any layer.
    """
    racks = [path.name for path in (state_root() / "racks").glob("*")]
    used: set[str] = set()
    try:
        for rack in [*map(load, racks), *(find(name).rack for name in names())]:
            used.update(rack.layers if rack is not None else ())
    except RackError:
        return
    for folder in layer_dir("").glob("*"):
        if folder.name not in used:
            shutil.rmtree(folder)


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Let one command at a time change saved racks and layers; wait for another's end."""
    # No rack's lock: those begin with appliance-rack-.
    with (LOCKS / "appliance-saved-racks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_disk(source: Path, target: Path) -> None:
    """Copy a disk: only what it holds, and no bytes at all where the file system can share them."""
    run("cp", "--reflink=auto", "--sparse=auto", str(source), str(target), timeout=None)
