#!/usr/bin/python3
"""Ansible module: OSDs on disks that hold nothing else."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.disk_contents import Label, busy, edges_hold_data, first_bytes, parse_label

DOCUMENTATION = r"""
module: ceph_osd_disks
short_description: Make sure that each of the given disks is an OSD of this cluster
description:
  - A disk that holds anything (partitions, a file system, LVM, another cluster's OSD, unknown data) is refused. All
    refused disks are named at once, and then no disk is touched.
  - A disk that is an OSD of this cluster is done already.
options:
  devices:
    description: Paths below C(/dev/disk/), where names stay with the disk.
    type: list
    elements: str
    required: true
  fsid: {description: The cluster's identity., type: str, required: true}
  state:
    description: C(checked) only looks; it needs nothing of Ceph's on the machine. C(prepared) makes the OSDs.
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
  description: Each OSD that is there, with its C(device) and C(id).
  returned: always
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

Run = Callable[..., tuple[int, str, str]]


def verdict(path: str, label: Label | None, fsid: str) -> str:
    """What is wrong with the OSD that a disk holds: empty if nothing is, or if it holds none."""
    if label is None or (label.fsid == fsid and label.finished and label.osd_id):
        return ""
    if label.fsid != fsid:
        return f"{path} holds osd.{label.osd_id or '?'} of another cluster ({label.fsid or 'no identity'})"
    return f"{path} holds an OSD of this cluster (uuid {label.osd_uuid}) whose making was interrupted"


def signatures(run: Run, path: str) -> list[str]:
    """Names of everything on the disk that blkid's library knows: file systems, partition tables, LVM, RAID."""
    status, out, err = run(["wipefs", "--no-act", "--json", path])
    if status != 0:
        return [f"(wipefs could not read it: {err.strip()})"]
    return sorted({found["type"] for found in json.loads(out or "{}").get("signatures", [])})


def partitions(real: Path) -> list[str]:
    """Names of the disk's partitions, and of what is built on it, as the kernel knows them."""
    disk = Path("/sys/class/block") / real.name
    holders = sorted(entry.name for entry in (disk / "holders").glob("*"))
    return sorted(entry.parent.name for entry in disk.glob("*/partition")) + holders


def look(run: Run, path: str, fsid: str) -> tuple[Label | None, str]:
    """The OSD on the disk at ``path``, if any, and why the disk is refused (empty if it is not)."""
    if not path.startswith("/dev/disk/by-"):
        return (
            None,
            f"{path} is no stable name: it can mean another disk after the next boot; use one of /dev/disk/by-id",
        )
    real = Path(path).resolve()
    if not real.exists():
        return None, f"{path} does not exist on this machine"
    if not stat.S_ISBLK(real.stat().st_mode):
        return None, f"{path} is no disk (block device)"
    try:
        label = parse_label(first_bytes(real))
    except ValueError as error:
        return None, f"{path} holds a damaged OSD: {error}"
    if label is not None:
        return label, verdict(path, label, fsid)
    parts = partitions(real)
    if parts:
        return None, f"{path} is divided or built upon: {', '.join(parts)}"
    found = signatures(run, path)
    if found:
        return None, f"{path} holds {', '.join(found)}"
    if busy(real):
        return None, f"{path} is in use"
    if edges_hold_data(real):
        return None, f"{path} holds data of a kind that is not known here"
    return None, ""


def survey(run: Run, devices: list[str], fsid: str) -> tuple[dict[str, Label | None], list[str]]:
    """Look at all disks: the OSD on each, by path, and all faults."""
    found: dict[str, Label | None] = {}
    faults: list[str] = []
    names: dict[str, str] = {}
    for path in devices:
        real = os.path.realpath(path)
        if real in names:
            faults.append(f"{path} is the same disk as {names[real]}")
            continue
        names[real] = path
        found[path], fault = look(run, path, fsid)
        if fault:
            faults.append(fault)
    return found, faults


def remember(directory: Path, osd_id: str, path: str, check: bool) -> bool:
    """Write which disk the OSD is on, where its activation unit reads it; True if that is news."""
    note, text = directory / f"{osd_id}.conf", f"DEVICE={path}\n"
    if note.exists() and note.read_text() == text:
        return False
    if not check:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        note.write_text(text)
    return True


def prepare(module: AnsibleModule, path: str) -> Label:
    """Make an OSD of the empty disk at ``path``; ends the module if that fails."""
    # At its own log level ceph-volume writes the OSD's key into its log, which is readable by all.
    command = ["ceph-volume", "--log-level", "warning", "raw", "prepare", "--bluestore", "--data", path]
    status, out, err = module.run_command(command)
    label = parse_label(first_bytes(Path(path))) if status == 0 else None
    if label is None:
        module.fail_json(msg=f"ceph-volume could not make an OSD of {path}: {err.strip() or out.strip()}")
    return label


def main() -> None:
    """Entry point."""
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
    found, faults = survey(module.run_command, wanted["devices"], wanted["fsid"])
    if faults:
        module.fail_json(
            msg=f"ceph_osd_devices: {'; '.join(faults)}. Nothing was changed. Way out: take the disk off the list; "
            "or, if all that it holds may go, empty it (`wipefs --all` and `blkdiscard` or `dd if=/dev/zero`), and "
            "run again.",
            faults=faults,
        )
    notes = Path(wanted["activation_dir"])
    if wanted["state"] == "checked":
        known = [{"device": path, "id": label.osd_id} for path, label in found.items() if label]
        pending = [p for p, label in found.items() if label is None or remember(notes, label.osd_id, p, check=True)]
        module.exit_json(changed=False, osds=known, pending=pending, faults=[])

    changed = False
    osds = []
    for path, present in found.items():
        label = present
        if label is None:
            changed = True
            if module.check_mode:
                continue
            label = prepare(module, path)
        changed = remember(notes, label.osd_id, path, module.check_mode) or changed
        osds.append({"device": path, "id": label.osd_id})
    module.exit_json(changed=changed, osds=osds, faults=[])


if __name__ == "__main__":
    main()
