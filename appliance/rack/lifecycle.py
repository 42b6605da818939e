"""A whole rack: up, down, and what its state is."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from typing import Any

from appliance.rack import cgroups, checks, disks, machine, network, saved, tree
from appliance.rack.model import LOCKS, Machine, Rack, RackError, check_name, load, state_dir
from appliance.rack.shell import mount_points, run, succeeds

SSH_PATIENCE = 30
MONITORS = 3
SLOWEST = 0.05  # slower, and Ceph takes the machine for dead
Say = Callable[[str], None]


def up(rack: Rack, mirror: str | None, say: Say) -> bool:
    """Bring ``rack`` up; ``say`` is told each step. Return whether anything had to be started.

    A rack of this shape whose machines are off (the host was restarted) is powered on with its data. What an aborted
    ``up`` left is removed first.

    Raises:
        RackError: something keeps it from starting (all of it is named), or a rack of this name has another shape.
    """
    checks.refuse(checks.faults(rack))
    with only_one(rack.name):
        standing = load(rack.name)
        if standing is not None and standing.ready:
            if standing != rack and not rack.grows_from(standing):
                raise RackError(f"rack {rack.name!r} stands with another shape: {_differences(standing, rack)}")
            off = [each for each in rack.machines() if machine.leader(each) is None]
            if not off:
                return False
            checks.refuse(checks.host_faults(rack, len(off)))
            rack = replace(rack, tree=standing.tree, layers=standing.layers)
        else:
            checks.refuse(checks.host_faults(rack, rack.stores + 1))
            say("clearing leftovers")
            remove(rack.name)
            if not tree.path(rack.suite).exists():
                say("making the machines' tree (about a minute, once)")
            rack = replace(rack, tree=str(tree.make(rack.suite, mirror)))
            rack.save()
        start(rack, say)
    return True


def start(rack: Rack, say: Say, prepare: Callable[[Machine], None] | None = None) -> None:
    """Start what of the rack does not run, and write down that it stands. Only under `only_one`.

    ``prepare`` is called for each machine before it starts; a machine need not wait for another's.

    Raises:
        RackError: a machine does not boot.
    """

    def switch_on(each: Machine) -> None:
        if prepare is not None:
            prepare(each)
        machine.power_on(rack, each)

    _make_keys(rack)
    # A user of this host may have the number of a researcher of the rack, and is somebody else.
    (rack.folder / "machines").mkdir(mode=0o700, exist_ok=True)
    network.make_bridge(rack)
    say("booting the machines")
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(switch_on, rack.machines()))
        _write_ssh(rack)
        say("waiting for ssh")
        list(pool.map(lambda each: wait_for_ssh(rack, each), rack.machines()))
    replace(rack, ready=True).save()


def stop(rack: Rack) -> None:
    """Shut all machines down in order, the head first, and let go of their files. Only under `only_one`.

    Raises:
        RackError: something on the host uses a machine's files.
    """
    head, *stores = rack.machines()
    machine.power_off(head)
    with ThreadPoolExecutor(max_workers=len(stores)) as pool:
        list(pool.map(machine.power_off, stores))
    for each in (head, *stores):
        machine.release(each)


def _differences(standing: Rack, wanted: Rack) -> str:
    """Say in which options a standing rack differs from the wanted one, and the ways out."""
    names = [each.name for each in fields(Rack) if each.compare]
    pairs = [(name, getattr(standing, name), getattr(wanted, name)) for name in names]
    told = ", ".join(f"{name} is {has!r}, asked for {asked!r}" for name, has, asked in pairs if has != asked)
    return f"{told}; ask for what stands, `down` it first, or use another --name (only more --stores can be added)"


@contextlib.contextmanager
def only_one(name: str, wait: bool = False) -> Iterator[None]:
    """Let one command at a time change the rack called ``name``; ``wait`` for another's end.

    Raises:
        RackError: ``name`` is no rack's name, or another command is at it and this one is not to wait.
    """
    check_name(name)
    with (LOCKS / f"appliance-rack-{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise RackError(f"rack {name!r}: another command is changing it; wait for its end") from None
        yield


def down(name: str) -> None:
    """Remove the rack called ``name`` with all its data: machines, mounts, loop devices, bridge, cgroups, files.

    Works from what stands on the host and not from the rack's own record, which an aborted run may not have written.

    Raises:
        RackError: something of it cannot be removed.
    """
    with only_one(name):
        remove(name)
        with saved.only_one():
            saved.collect()


def remove(name: str) -> None:
    """Remove what there is of the rack called ``name``. Only under `only_one`.

    Raises:
        RackError: something of it cannot be removed.
    """
    folder = state_dir(name)
    with contextlib.suppress(RackError):
        # A record that cannot be read names no subnet to hang up on; all else is found without it.
        if (standing := load(name)) is not None:
            network.hang_up(standing.network)
    names = {path.name for path in (folder / "machines").glob("*")}
    for machine_name in sorted(names):
        machine.remove(Machine(name, machine_name, ""))
    for unit in _stray_units(name):
        cgroups.remove(unit)
    network.remove_bridge(name)
    disks.detach(folder)
    if folder.exists():
        shutil.rmtree(folder)
    left = leftovers(name)
    if left:
        raise RackError(f"rack {name!r} is not gone: {', '.join(left)}; call `down` again, or remove them by hand")


def leftovers(name: str) -> list[str]:
    """Return everything on the host that belongs to the rack called ``name``: after ``down``, nothing.

    Raises:
        RackError: ``name`` is no rack's name.
    """
    check_name(name)
    folder = state_dir(name)
    found = [f"mount {point}" for point in mount_points() if point.is_relative_to(folder)]
    found += [f"loop device {device}" for device in disks.attached(folder).values()]
    found += [f"interface {path.name}" for path in network.INTERFACES.glob(f"vb-{name}-*")]
    if network.is_ours(name):
        found.append(f"bridge br-{name}")
    found += [f"cgroup {group}" for unit in _stray_units(name) for group in cgroups.groups(unit)]
    return found + ([f"folder {folder}"] if folder.exists() else [])


def _stray_units(name: str) -> list[str]:
    prefix = cgroups.folder_name(f"{name}-")
    found = {path.name for root in cgroups.hierarchies() for path in root.glob(f"{prefix}*")}
    return sorted(f"{name}-{group.removeprefix(prefix)}" for group in found)


def set_speed(rack: Rack, rate: str | None) -> None:
    """Change the speed of every machine's card while the rack runs, and write it down for the next power-on.

    Raises:
        RackError: ``rate`` is no rate, or another command is changing the rack.
    """
    changed = replace(rack, nic=rate)
    checks.refuse(changed.faults())
    with only_one(rack.name):
        for each in rack.machines():
            network.set_speed(each, rate)
        changed.save()


@contextlib.contextmanager
def slowed(rack: Rack, name: str, share: float) -> Iterator[None]:
    """Let one running machine work for ``share`` of the time only, while this lasts.

    Raises:
        RackError: no such machine, it is off, or ``share`` is not between 0.05 and 1.
    """
    each = rack.machine(name)
    if not SLOWEST <= share <= 1:
        raise RackError(f"SHARE {share:g}: give a part of the time from {SLOWEST} to 1")
    if machine.leader(each) is None:
        raise RackError(f"machine {name} is off: `appliance rack power on {name}`")
    with cgroups.slowed(each.unit, share):
        yield


def status(rack: Rack) -> list[dict[str, Any]]:
    """Return a row a machine: name, address, running, memory in bytes, disks, bytes through its card."""
    crossed = network.card_bytes(rack)
    rows = []
    for each in rack.machines():
        card = crossed.get(each.name)
        rows.append(
            {
                "name": each.name,
                "address": each.address,
                "running": machine.leader(each) is not None,
                "memory_bytes": cgroups.memory_bytes(each.unit),
                "disks": list(each.disks),
                "card_received_bytes": card.received if card else None,
                "card_sent_bytes": card.sent if card else None,
            }
        )
    return rows


def ssh_command(rack: Rack, name: str) -> list[str]:
    """Return the command that logs in to the machine called ``name``; words after it are run there."""
    return ["ssh", "-F", str(rack.ssh_config), rack.machine(name).name]


def wait_for_ssh(rack: Rack, each: Machine) -> None:
    """Return once the machine takes a login.

    Raises:
        RackError: it did not within SSH_PATIENCE seconds.
    """
    deadline = time.monotonic() + SSH_PATIENCE
    command = [*ssh_command(rack, each.name), "true"]
    while not succeeds(*command):
        if time.monotonic() > deadline:
            said = subprocess.run(command, capture_output=True, text=True).stderr.strip()
            raise RackError(f"machine {each.name} takes no login at {each.address}: {said}")
        time.sleep(0.2)


def _make_keys(rack: Rack) -> None:
    key = rack.folder / "id_ed25519"
    if not key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"rack-{rack.name}", "-f", str(key))


def _write_ssh(rack: Rack) -> None:
    known = [f"{each.name},{each.address} {machine.host_key(each)}" for each in rack.machines()]
    (rack.folder / "known_hosts").write_text("\n".join(known) + "\n")
    rack.ssh_config.write_text("\n".join(_ssh_lines(rack)) + "\n")


def _ssh_lines(rack: Rack) -> Iterator[str]:
    for each in rack.machines():
        yield f"Host {each.name}\n    HostName {each.address}"
    yield "Host *"
    yield "    User root"
    yield f"    IdentityFile {rack.folder / 'id_ed25519'}"
    yield "    IdentitiesOnly yes"
    yield f"    UserKnownHostsFile {rack.folder / 'known_hosts'}"
    yield "    StrictHostKeyChecking yes"
    yield "    ConnectTimeout 5"
    # A kept connection to a machine whose power was cut ends in seconds, not when TCP gives up.
    yield "    ServerAliveInterval 5"
    yield "    ServerAliveCountMax 3"


def inventory(rack: Rack) -> dict[str, Any]:
    """Return the rack as Ansible's inventory script protocol wants it: machines, their groups, how to reach them."""
    hostvars: dict[str, dict[str, Any]] = {}
    for each in rack.machines():
        hostvars[each.name] = {
            "ansible_host": each.address,
            "ansible_user": "root",
            "ansible_ssh_common_args": f"-F {rack.ssh_config}",
            "machine_address": each.address,
        }
        if each.disks:
            hostvars[each.name]["ceph_osd_devices"] = [f"/dev/disk/by-id/{disk}" for disk in each.disks]
    names = [each.name for each in rack.machines()]
    return {
        "_meta": {"hostvars": hostvars},
        "all": {
            "children": ["head", "storage", "monitors"],
            "vars": {"rack_name": rack.name, "rack_gateway": rack.gateway, "rack_subnet": rack.subnet},
        },
        "head": {"hosts": names[:1]},
        "storage": {"hosts": names[1:]},
        # They decide by majority: a rack that gets a fourth storage machine keeps three.
        "monitors": {"hosts": names[1 : 1 + MONITORS]},
    }


def power(rack: Rack, name: str, state: str) -> None:
    """Switch one machine ``on``, ``off`` (in order) or ``cut`` (as a power cut); its disks and files stay.

    Raises:
        RackError: no such machine, or it does not boot.
    """
    each = rack.machine(name)
    with only_one(rack.name, wait=True):
        if state == "off":
            machine.power_off(each)
        elif state == "cut":
            machine.pull_plug(each)
        else:
            machine.power_on(rack, each)
            wait_for_ssh(rack, each)
