"""A machine's place in the host's cgroups.

systemd as PID 1 of a machine needs controllers that it can write. A host whose own systemd is PID 1 and which has the
unified tree gives them as they are. A host with cgroup v1 controllers needs nspawn and the machine told so, each
machine in a cgroup of its own in every hierarchy (else all share one ``/payload`` and end each other's units), and
the controllers remounted writable in the machine before its systemd looks at them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CPU_PERIOD_US = 100_000
LIMITING = ("memory", "cpu", "cpuacct", "pids", "blkio", "cpuset", "freezer")
UNIFIED_LIMITING = ("memory", "cpu", "cpuset", "pids", "io")
SUPERVISOR, MACHINE = "supervisor", "machine"
REBOOT_CODE = 133  # nspawn started with --keep-unit leaves it to its starter to start it again
# Both nspawn and the machine's systemd have to be told to accept the old hierarchy.
LEGACY_ENVIRONMENT = {"SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE": "1", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"}

TURN = 0.1  # s
FREEZING = {"freezer.state": ("FROZEN", "THAWED"), "cgroup.freeze": ("1", "0")}  # file → what freezes, what thaws
# Ends, and thaws, when its standard input does.
FREEZER = """
import pathlib, select, sys, time
file, (freeze, thaw, run, rest) = pathlib.Path(sys.argv[1]), sys.argv[2:]
try:
    while not select.select([sys.stdin], [], [], float(run))[0]:
        file.write_text(freeze)
        time.sleep(float(rest))
        file.write_text(thaw)
finally:
    file.write_text(thaw)
"""


def legacy() -> bool:
    """Tell whether the host mounts cgroup v1 controllers."""
    return not (CGROUPS / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """Return the root of each cgroup hierarchy that the host mounts."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]


def folder_name(unit: str) -> str:
    """Return the name of the cgroup of the machine that nspawn calls ``unit``."""
    return f"appliance-rack-{unit}"


def make(unit: str, memory: int | None, cpus: float | None) -> None:
    """Make the machine's cgroups in every hierarchy, with its limits: ``memory`` in bytes, ``cpus`` in processors.

    The limits are on the group around both: the supervisor's, which starts the machine again when it reboots, and the
    machine's own. The unified tree allows processes in groups without children only, hence two.
    """
    for hierarchy in hierarchies():
        group = hierarchy / folder_name(unit)
        for made in (group, group / SUPERVISOR, group / MACHINE):
            _hand_down(made.parent)
            made.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                # A new v1 cpuset is empty and takes no process until it has processors and memory.
                if hierarchy.name == "cpuset" and (made / setting).exists():
                    (made / setting).write_text((hierarchy / setting).read_text())
        for setting, value in limits(memory, cpus).items():
            if (group / setting).exists():
                (group / setting).write_text(value)


def _hand_down(group: Path) -> None:
    """Give the children of ``group`` its controllers, which the unified tree does for the asking only."""
    if not legacy():
        present = (group / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{controller}" for controller in present if controller in UNIFIED_LIMITING)
        (group / "cgroup.subtree_control").write_text(wanted)


def limits(memory: int | None, cpus: float | None) -> dict[str, str]:
    """Return the settings of either cgroup version that limit a group; a group takes those that it has."""
    settings: dict[str, str] = {}
    if memory is not None:
        settings |= {"memory.limit_in_bytes": str(memory), "memory.max": str(memory)}
    if cpus is not None:
        quota = str(int(cpus * CPU_PERIOD_US))
        settings |= {"cpu.cfs_quota_us": quota, "cpu.max": f"{quota} {CPU_PERIOD_US}"}
    return settings


@contextlib.contextmanager
def slowed(unit: str, share: float) -> Iterator[None]:
    """Let all processes of a machine run for ``share`` of the time only, in turns of a tenth of a second.

    A limit of processors would do for new groups only: a v1 group takes none below those of the groups in it, and
    systemd gives its units limits. What freezes the machine is a process of its own that ends with this one, however
    that ends, and leaves the machine as it was.

    Raises:
        FileNotFoundError: the machine is off.
    """
    file, words = next(
        (
            (group / name, words)
            for group in groups(unit)
            for name, words in FREEZING.items()
            if (group / name).exists()
        ),
        (None, ()),
    )
    if file is None:
        raise FileNotFoundError(f"no cgroup of {unit} can be frozen: the machine is off")
    program = [sys.executable, "-c", FREEZER, str(file), *words, str(share * TURN), str((1 - share) * TURN)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, start_new_session=True):
        yield


def supervisor(unit: str, command: Sequence[str]) -> list[str]:
    """Return the command that runs ``command`` (nspawn's) in the machine's cgroups, anew each time it reboots.

    A shell: it stays for as long as the machine runs, and takes next to nothing.
    """
    joined = [
        " ".join(shlex.quote(str(hierarchy / folder_name(unit) / part / "cgroup.procs")) for hierarchy in hierarchies())
        for part in (SUPERVISOR, MACHINE)
    ]
    join = "for group in {}; do echo $$ >$group || exit 1; done"
    start = f'{join.format(joined[1])}; exec "$@"'
    loop = f'sh -c {shlex.quote(start)} rack-machine "$@"; code=$?; [ $code -eq {REBOOT_CODE} ] || exit $code'
    return ["sh", "-c", f"{join.format(joined[0])}; while :; do {loop}; done", "rack-supervisor", *command]


def init_script() -> str:
    """Return the program that starts as a machine's first process, and becomes its systemd.

    It comes before systemd because that looks at its controllers once, at its start; and it runs anew at each reboot.
    """
    lines = ["#!/bin/sh", "set -e"]
    if legacy():
        mounted = [controller for controller in LIMITING if (CGROUPS / controller).is_dir()]
        lines += [f"mount -o remount,rw,bind /sys/fs/cgroup/{controller}" for controller in mounted]
    return "\n".join([*lines, "exec /usr/lib/systemd/systemd"]) + "\n"


def memory_bytes(unit: str) -> int | None:
    """Return the memory that the machine takes, in bytes; None when it does not run or is not counted.

    Cached files that nobody has read for a while do not count: the kernel gives them up for the asking.
    """
    name = folder_name(unit)
    for group, usage, cached in (
        (CGROUPS / "memory" / name, "memory.usage_in_bytes", "total_inactive_file"),
        (CGROUPS / name, "memory.current", "inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError, KeyError):
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            return max(0, int((group / usage).read_text()) - int(statistics[cached]))
    return None


def groups(unit: str) -> list[Path]:
    """Return the machine's cgroups that stand, the root of each."""
    return [path for hierarchy in hierarchies() if (path := hierarchy / folder_name(unit)).is_dir()]


def remove(unit: str, patience: float = 10) -> None:
    """End what still runs in the machine's cgroups and remove them. Only processes of the machine are in there."""
    deadline = time.monotonic() + patience
    while found := groups(unit):
        for root in found:
            tree = sorted([root, *(path for path in root.rglob("*") if path.is_dir())], reverse=True)
            for group in tree:
                with contextlib.suppress(OSError):
                    for pid in (group / "cgroup.procs").read_text().split():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)
                    group.rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
