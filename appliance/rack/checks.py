"""What the control host needs before a rack can start: all that is missing is said at once, with the way out."""

from __future__ import annotations

import ipaddress
import os
import shutil
from pathlib import Path

from appliance.rack import cgroups, network, tree
from appliance.rack.model import Rack, RackError, state_dir
from appliance.rack.shell import succeeds

# Program -> Debian package that brings it.
PROGRAMS = {
    "ip": "iproute2",
    "losetup": "mount",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "setpriv": "util-linux",
    "ss": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
}
# A machine with every role on it takes about this much of the host's disk and memory.
MACHINE_DISK_GIB = 4
DISK_GIB = 3
MACHINE_MEMORY_GIB = 1


def refuse(faults: list[str]) -> None:
    """End the command where there are faults.

    Raises:
        RackError: there are; the message names them all.
    """
    if faults:
        raise RackError("that cannot be, nothing was changed:\n" + "\n".join(f"  - {fault}" for fault in faults))


def faults(rack: Rack) -> list[str]:
    """Return what is wrong with the caller, the wanted shape or the host's programs, before the host is looked at."""
    if os.geteuid() != 0:
        return [f"user id {os.geteuid()}: machines, bridges and loop devices need root; run it as root"]
    found = rack.faults()
    missing = {PROGRAMS[name] for name in PROGRAMS if shutil.which(name) is None}
    if not tree.KEYRING.exists():
        missing.add("debian-archive-keyring")
    if missing:
        found.append(f"missing programs: `apt-get install {' '.join(sorted(missing))}` (or `make setup`) brings them")
    return found


def host_faults(rack: Rack, starting: int, disk_gib: int | None = None) -> list[str]:
    """Return what keeps ``starting`` machines of ``rack`` from starting on this host; its programs must be there.

    ``disk_gib`` is what they take of the host's disk, by default what bare machines come to with every role on them.
    """
    if disk_gib is None:
        disk_gib = starting * (MACHINE_DISK_GIB + rack.disks * min(DISK_GIB, rack.disk_gib))
    return [
        *_network_faults(rack),
        *disk_faults(state_dir(rack.name), disk_gib, f"{starting} machines"),
        *_tree_faults(rack),
        *_memory_faults(starting),
        *_kernel_faults(),
    ]


def disk_faults(path: Path, needed: int, what: str) -> list[str]:
    """Return a fault where there is no room at ``path`` for the ``needed`` GiB that ``what`` takes."""
    folder = _nearest(path)
    free = shutil.disk_usage(folder).free >> 30
    if free >= needed:
        return []
    told = f"disk at {folder}: {free} GiB free, {what} take up to {needed}"
    return [f"{told}; free some (`appliance rack forget`), or set APPLIANCE_STATE"]


def _network_faults(rack: Rack) -> list[str]:
    found = []
    for interface in network.addresses():
        name = interface["ifname"]
        ours = name == rack.bridge
        if ours and not network.is_ours(rack.name):
            found.append(f"interface {name}: it is there and no rack's; choose another --name, or remove it")
            ours = False
        for address in interface["addr_info"]:
            if address["family"] != "inet":
                continue
            used = ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)
            if used.overlaps(rack.network) and not ours:
                found.append(f"--subnet {rack.subnet}: interface {name} has {used}; choose another --subnet")
            if ours and not used.overlaps(rack.network):
                found.append(f"interface {name}: it carries {used}, not {rack.subnet}; choose another --name")
    told = " ".join(found)
    for destination, device in network.routes():
        if destination.overlaps(rack.network) and device != rack.bridge and f"interface {device} " not in told:
            found.append(f"--subnet {rack.subnet}: a route to {destination} leads to {device}; choose another --subnet")
    return found


def _tree_faults(rack: Rack) -> list[str]:
    if rack.tree or tree.path(rack.suite).exists():
        return []
    cache = _nearest(tree.path(rack.suite))
    if shutil.disk_usage(cache).free >> 30 >= 1:
        return []
    return [f"disk at {cache}: under 1 GiB free for the machines' tree; free some, or set APPLIANCE_CACHE"]


def _memory_faults(machines: int) -> list[str]:
    memory = {line.split(":")[0]: line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()}
    available = int(memory["MemAvailable"]) >> 20
    if available >= machines * MACHINE_MEMORY_GIB:
        return []
    return [f"memory: {available} GiB available for {machines} machines of 1 GiB; end something, or fewer --stores"]


def _kernel_faults() -> list[str]:
    found = []
    if "overlay" not in Path("/proc/filesystems").read_text() and not succeeds("modprobe", "overlay"):
        found.append("kernel: no overlay file system; start a kernel that has CONFIG_OVERLAY_FS")
    if not Path("/dev/loop-control").exists() and not succeeds("modprobe", "loop"):
        found.append("kernel: no loop devices; start a kernel that has CONFIG_BLK_DEV_LOOP")
    if cgroups.legacy():
        absent = [name for name in ("memory", "cpu", "pids", "systemd") if not (cgroups.CGROUPS / name).is_dir()]
        if absent:
            found.append(
                f"cgroups: {', '.join(absent)} not mounted below {cgroups.CGROUPS}; "
                "mount cgroup2 there, or each of them"
            )
    return found


def _nearest(path: Path) -> Path:
    """Return the nearest folder above ``path`` that stands."""
    while not path.exists():
        path = path.parent
    return path
