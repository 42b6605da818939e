#!/usr/bin/python3
"""Ansible module: OSDs on disks that hold nothing else."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, bootstrap_cluster
from ansible.module_utils.disk_contents import (
    EDGE,
    LABEL_BYTES,
    Label,
    State,
    Verdict,
    first_bytes,
    parse_label,
    survey,
)

DOCUMENTATION = r"""
module: ceph_osd_disks
short_description: Make sure that each of the given disks is an OSD of this cluster
description:
  - A disk that holds anything (partitions, a file system, LVM, another cluster's OSD, unknown data) is refused. All
    refused disks are named at once, and then no disk is touched.
  - A disk that is an OSD of this cluster is done already.
  - An OSD whose making was interrupted is made anew if the monitors prove that it has never been up, and else refused.
options:
  devices:
    description: Paths below C(/dev/disk/), where names stay with the disk.
    type: list
    elements: str
    required: true
  fsid: {description: The cluster's identity., type: str, required: true}
  state:
    description: C(checked) only looks. C(prepared) makes the OSDs.
    type: str
    choices: [checked, prepared]
    default: prepared
  activation_dir:
    description: Directory that gets a file C(ID.conf) with the OSD's disk, for the unit that activates it at boot.
    type: path
    default: /etc/appliance/osd
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Look at the disks
  ceph_osd_disks:
    devices: [/dev/disk/by-id/wwn-0x5000c500a1b2c3d4]
    fsid: "{{ ceph_fsid }}"
    state: checked
"""
RETURN = r"""
osds:
  description: Each OSD that is there, with its C(device), C(id) and C(uuid).
  returned: always
  type: list
uuids:
  description: With C(checked), the OSDs on these disks, the interrupted ones among them.
  returned: success
  type: list
pending:
  description: With C(checked), the disks on which something is left to do.
  returned: success
  type: list
faults:
  description: Why disks are refused.
  returned: always
  type: list
"""

# Whoever makes OSDs on this machine holds it. `ceph-volume` is handed it too: it goes on where Ansible is killed.
LOCK = Path("/run/lock/appliance-osd.lock")
LOCK_SECONDS = 180
OSD_DIRECTORIES = Path("/var/lib/ceph/osd")


@contextmanager
def making_lock(path: Path = LOCK, seconds: float = LOCK_SECONDS) -> Iterator[int]:
    """Hold the lock of those who make OSDs here; gives its file descriptor. Raises TimeoutError if another keeps it."""
    until = time.monotonic() + seconds
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    message = f"another run still makes OSDs on this machine after {seconds:.0f} s"
                    raise TimeoutError(message) from error
                time.sleep(0.2)
        yield handle
    finally:
        os.close(handle)


def settled_survey(look: Callable[[], dict[str, Verdict]], seconds: float = LOCK_SECONDS) -> dict[str, Verdict]:
    """Look at the disks until nothing works on one that is being made an OSD, or the time is over."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if time.monotonic() > until or all(verdict.state is not State.MAKING for verdict in found.values()):
            return found
        time.sleep(0.5)


def remember(directory: Path, osd_id: str, path: str, check: bool) -> bool:
    """Write which disk the OSD is on, where its activation unit reads it; True if that is news."""
    note, text = directory / f"{osd_id}.conf", f"DEVICE={path}\n"
    if note.exists() and note.read_text() == text:
        return False
    if not check:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        note.write_text(text)
    return True


def zero_edges(device: Path, edge: int = EDGE) -> None:
    """Write zeros over the first and the last ``edge`` bytes of a device, all but the label.

    The label goes last, and by Ceph's own tool: a run that is interrupted here finds it, and begins again.
    """
    with device.open("r+b", buffering=0) as disk:
        size = disk.seek(0, os.SEEK_END)
        start = max(LABEL_BYTES, size - edge)
        disk.seek(start)
        disk.write(bytes(size - start))
        disk.seek(LABEL_BYTES)
        disk.write(bytes(min(edge, size) - LABEL_BYTES))
        os.fsync(disk.fileno())


def left_directories(path: str, notes: Path, directories: Path = OSD_DIRECTORIES) -> list[Path]:
    """The OSDs' directories (in memory) that an interrupted making left: the disk's at ``path``, and those of no disk.

    One without a disk was left before ceph-volume named the disk in it. OSDs that are made have a note.
    """
    left = []
    for directory in sorted(directories.glob("ceph-*")):
        block, note = directory / "block", notes / f"{directory.name.removeprefix('ceph-')}.conf"
        if block.is_symlink():
            left_over = os.path.realpath(block) == os.path.realpath(path)
        else:
            left_over = directory.is_mount() and not note.exists()
        if left_over:
            left.append(directory)
    return left


def drop_directories(module: AnsibleModule, path: str, notes: Path) -> None:
    """Take away what `left_directories` names."""
    for directory in left_directories(path, notes):
        module.run_command(["umount", str(directory)], check_rc=True)
        directory.rmdir()


def empty(module: AnsibleModule, path: str) -> None:
    """Empty a disk that holds an OSD which never started."""
    zero_edges(Path(path))
    zap = ["ceph-bluestore-tool", "zap-device", "--dev", path, "--yes-i-really-really-mean-it"]
    module.run_command(zap, check_rc=True)


def clean(module: AnsibleModule, path: str, label: Label, notes: Path) -> None:
    """Empty the disk of an OSD that was proven never to have started, then let the monitors forget it.

    In this order: an interruption leaves either the label, and this is done again, or an OSD without a disk, which
    the module ceph_osd_purge_new takes away. The monitors refuse `purge-new` for an OSD that has been up.
    """
    drop_directories(module, path, notes)
    empty(module, path)
    cluster = bootstrap_cluster(module.run_command)
    known = {osd["uuid"]: osd["osd"] for osd in cluster.ask("osd dump")["osds"]}
    if label.osd_uuid in known:
        cluster.tell([{"prefix": "osd purge-new", "id": known[label.osd_uuid], "yes_i_really_mean_it": True}])


def prepare(module: AnsibleModule, path: str, notes: Path, lock: int) -> Label:
    """Make an OSD of the empty disk at ``path``; ends the module if that fails, with the disk emptied again."""
    drop_directories(module, path, notes)
    # At its own log level ceph-volume writes the OSD's key into its log, which is readable by all.
    command = ["ceph-volume", "--log-level", "warning", "raw", "prepare", "--bluestore", "--data", path]
    status, out, err = module.run_command(command, pass_fds=[lock])
    label = parse_label(first_bytes(Path(path)))
    if status == 0 and label is not None and label.finished:
        return label
    if label is not None:
        # The disk was empty a moment ago: what it holds now is what this call left. Its number ceph-volume has given
        # back to the monitors, which therefore could not prove later that it never started.
        empty(module, path)
    return module.fail_json(msg=f"ceph-volume could not make an OSD of {path}: {err.strip() or out.strip()}")


def refuse(module: AnsibleModule, found: Mapping[str, Verdict]) -> None:
    """End the module if a disk is refused, with all the reasons."""
    refused = {path: verdict for path, verdict in found.items() if verdict.reason}
    if refused:
        faults = [f"{path} {verdict.reason}; way out: {verdict.fix}" for path, verdict in refused.items()]
        module.fail_json(msg=f"ceph_osd_devices: nothing was changed. {'. '.join(faults)}.", faults=faults)


def check(module: AnsibleModule, found: Mapping[str, Verdict], notes: Path) -> None:
    """Report what is there and what is left to do."""
    finished = {path: verdict.label for path, verdict in found.items() if verdict.state is State.FINISHED}
    module.exit_json(
        changed=False,
        osds=[entry(path, label) for path, label in finished.items()],
        uuids=[verdict.label.osd_uuid for verdict in found.values() if verdict.label],
        pending=[
            path for path in found if path not in finished or remember(notes, finished[path].osd_id, path, check=True)
        ],
        faults=[],
    )


def entry(path: str, label: Label) -> dict[str, str]:
    """An OSD as the module returns it: ``device`` (a path), ``id`` and ``uuid``."""
    return {"device": path, "id": label.osd_id, "uuid": label.osd_uuid}


def make(module: AnsibleModule, found: Mapping[str, Verdict], notes: Path, lock: int) -> None:
    """Make an OSD of each disk that is none yet."""
    changed = False
    osds = []
    for path, verdict in found.items():
        label = verdict.label
        if verdict.state is not State.FINISHED:
            changed = True
            if module.check_mode:
                continue
            if verdict.state is State.UNFINISHED:
                clean(module, path, verdict.label, notes)
            label = prepare(module, path, notes, lock)
        changed = remember(notes, label.osd_id, path, module.check_mode) or changed
        osds.append(entry(path, label))
    module.exit_json(changed=changed, osds=osds, faults=[])


def main() -> None:
    """Judge all disks under the lock; refuse all if one is refused, else report (checked) or make OSDs (prepared)."""
    module = AnsibleModule(
        argument_spec={
            "devices": {"type": "list", "elements": "str", "required": True},
            "fsid": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["checked", "prepared"], "default": "prepared"},
            "activation_dir": {"type": "path", "default": "/etc/appliance/osd"},
        },
        supports_check_mode=True,
    )
    wanted: dict[str, Any] = module.params
    notes = Path(wanted["activation_dir"])
    try:
        with making_lock() as lock:
            found = settled_survey(lambda: survey(module.run_command, wanted["devices"], wanted["fsid"]))
            refuse(module, found)
            if wanted["state"] == "checked":
                check(module, found, notes)
            make(module, found, notes, lock)
    except (CephError, TimeoutError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
