"""What a rack is: its machines, addresses and disks, and where its state lies."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

# A card's host end is named vb-RACK-sNN, and Linux allows interface names of 15 characters.
NAME_PATTERN = re.compile(r"[a-z][a-z0-9]{0,7}")
HEAD_OFFSET = 11
STORE_OFFSET = 21
MAX_STORES = 40
MIN_MEMORY_GIB = 0.25
MIN_CPUS = 0.1
LOCKS = Path("/run/lock")


class RackError(Exception):
    """Something about the rack is wrong; the message says what, and the way out."""


def cache_dir() -> Path:
    """Return the folder of what outlives racks: the machines' tree and the depot's packages."""
    return Path(os.environ.get("APPLIANCE_CACHE", "/var/cache/appliance"))


def state_root() -> Path:
    """Return the folder of all racks, of those that were saved, and of the layers that both lie on."""
    return Path(os.environ.get("APPLIANCE_STATE", "/var/lib/appliance"))


def state_dir(name: str) -> Path:
    """Return the folder of the rack called ``name``: disks, machines' own files, keys."""
    return state_root() / "racks" / name


def layer_dir(layer: str) -> Path:
    """Return the folder of a layer: what machines had of their own when they were saved, a folder each."""
    return state_root() / "layers" / layer


@dataclass(frozen=True)
class Machine:
    """One machine: its host name, IPv4 address, and the names of its disks (none on a head)."""

    rack: str
    name: str
    address: str
    disks: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The name under which nspawn, its cgroups and its card know the machine: unique over all racks."""
        return f"{self.rack}-{self.name[0]}{self.name.lstrip('abcdefghijklmnopqrstuvwxyz')}"

    @property
    def card(self) -> str:
        """The host's end of the machine's network card."""
        return f"vb-{self.unit}"

    @property
    def folder(self) -> Path:
        """Where the machine's own files are kept."""
        return state_dir(self.rack) / "machines" / self.name

    @property
    def root(self) -> Path:
        """The machine's file system as the host sees it."""
        return self.folder / "root"

    @property
    def upper(self) -> Path:
        """What the machine has of its own in that file system: the uppermost layer of the overlay."""
        return self.folder / "upper"

    @property
    def network_namespace(self) -> Path:
        """The file that holds the machine's network namespace, so that its card outlives reboots and power cuts."""
        return self.folder / "netns"


@dataclass(frozen=True)
class Rack:
    """A rack's shape.

    ``disk_gib`` is the size of each disk in GiB, ``nic`` a rate for tc such as ``200mbit``. Limits, None where there
    is none: ``memory_gib`` of each storage machine, ``head_memory_gib``, ``cpus`` of each machine in processors.
    """

    name: str = "rack"
    subnet: str = "10.77.0.0/24"
    stores: int = 3
    disks: int = 1
    disk_gib: int = 12
    nic: str | None = None
    suite: str = "trixie"
    memory_gib: float | None = None
    head_memory_gib: float | None = None
    cpus: float | None = None
    # The tree that the machines' file systems lie on: a later version of this program may make another one.
    tree: str = field(default="", compare=False)
    # Layers of saved racks between that tree and the machines' own files, the uppermost first.
    layers: tuple[str, ...] = field(default=(), compare=False)
    ready: bool = field(default=False, compare=False)

    def faults(self) -> list[str]:
        """Return what is wrong with the shape itself, each as option, value and way out."""
        faults = []
        try:
            check_name(self.name)
        except RackError as error:
            faults.append(str(error))
        try:
            network = ipaddress.IPv4Network(self.subnet)
        except ValueError as error:
            faults.append(f"--subnet {self.subnet!r}: {error}; give a private network such as 10.77.0.0/24")
        else:
            if network.prefixlen > 24 or not network.is_private:
                faults.append(f"--subnet {self.subnet}: give a private network of at least 256 addresses")
        if not 1 <= self.stores <= MAX_STORES:
            faults.append(f"--stores {self.stores}: give 1 to {MAX_STORES} storage machines")
        if not 0 <= self.disks <= 12:
            faults.append(f"--disks {self.disks}: give 0 to 12 disks a storage machine")
        if self.disk_gib < 1:
            faults.append(f"--disk-size {self.disk_gib}G: give at least 1G")
        if self.nic is not None and not re.fullmatch(r"\d+[kmg]bit", self.nic):
            faults.append(f"--nic {self.nic!r}: give a rate such as 200mbit or 1gbit")
        for option, gib in (("--memory", self.memory_gib), ("--head-memory", self.head_memory_gib)):
            if gib is not None and gib < MIN_MEMORY_GIB:
                faults.append(f"{option} {gib:g}G: a machine boots with no less than {MIN_MEMORY_GIB:g}G; give more")
        if self.cpus is not None and self.cpus < MIN_CPUS:
            faults.append(f"--cpus {self.cpus:g}: give at least {MIN_CPUS:g}")
        return faults

    def grows_from(self, other: Rack) -> bool:
        """Tell whether this is ``other`` with more storage machines: then only these have to be started."""
        return self.stores > other.stores and replace(self, stores=other.stores) == other

    @property
    def bridge(self) -> str:
        """The bridge that joins the machines' cards."""
        return f"br-{self.name}"

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The machines' network."""
        return ipaddress.IPv4Network(self.subnet)

    @property
    def gateway(self) -> str:
        """The control host's address on the rack's network."""
        return str(self.network[1])

    @property
    def folder(self) -> Path:
        """Where all state of the rack is kept."""
        return state_dir(self.name)

    @property
    def ssh_config(self) -> Path:
        """The file that makes ``ssh -F FILE MACHINE`` reach a machine."""
        return self.folder / "ssh_config"

    def machines(self) -> Iterator[Machine]:
        """Yield the head, then the storage machines in order."""
        yield Machine(self.name, "head1", str(self.network[HEAD_OFFSET]))
        for number in range(1, self.stores + 1):
            name = f"store{number}"
            disks = tuple(f"{self.name}-{name}-disk{disk}" for disk in range(1, self.disks + 1))
            yield Machine(self.name, name, str(self.network[STORE_OFFSET + number - 1]), disks)

    def memory_limit(self, machine: Machine) -> int | None:
        """Return the most memory that ``machine`` may take, in bytes; None where it has no limit."""
        gib = self.memory_gib if machine.name.startswith("store") else self.head_memory_gib
        return None if gib is None else int(gib * 2**30)

    def machine(self, name: str) -> Machine:
        """Return the machine called ``name``.

        Raises:
            RackError: the rack has no such machine.
        """
        for machine in self.machines():
            if machine.name == name:
                return machine
        raise RackError(f"machine {name!r}: the rack has {', '.join(m.name for m in self.machines())}")

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Rack:
        """Return the rack that `asdict` and JSON made ``stored`` of; raises `TypeError` where it is none."""
        return cls(**{**stored, "layers": tuple(stored.get("layers", ()))})

    def save(self) -> None:
        """Write the shape, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "rack.json.new"
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        draft.replace(self.folder / "rack.json")


def check_name(name: str) -> None:
    """Refuse what is no rack's name, before a path or an interface is made of it.

    Raises:
        RackError: ``name`` is none.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise RackError(f"--name {name!r}: use 1 to 8 lower-case letters and digits, a letter first")


def load(name: str) -> Rack | None:
    """Return the rack called ``name``, or None when none of that name was started.

    Raises:
        RackError: its state cannot be read.
    """
    check_name(name)
    path = state_dir(name) / "rack.json"
    try:
        return Rack.from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RackError(f"{path}: {error}; `appliance rack --name {name} down` clears it") from error


def existing(name: str) -> Rack:
    """Return the rack called ``name``.

    Raises:
        RackError: there is none, or its state cannot be read.
    """
    rack = load(name)
    if rack is None:
        raise RackError(f"there is no rack called {name!r}; `appliance rack --name {name} up` starts it")
    return rack
