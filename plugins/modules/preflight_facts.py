#!/usr/bin/python3
"""Ansible module: what the preflight wants to know of a machine. Reads only."""

from __future__ import annotations

import glob
import grp
import os
import platform
import pwd
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.disk_contents import survey

DOCUMENTATION = r"""
module: preflight_facts
short_description: What the preflight wants to know of a machine
description:
  - Needs nothing on the machine but Python.
  - The questions come from an inventory that nobody has judged yet. What is not of the right kind is left out here, and
    reported by the judge.
options:
  now: {description: Seconds since 1970 on the control host., type: float, required: true}
  addresses: {description: Addresses that the machine may have., type: raw, default: []}
  devices: {description: Disks that may become OSDs., type: raw, default: []}
  fsid: {description: The cluster's identity., type: raw, default: ""}
  users: {description: Accounts with C(name) and C(uid)., type: raw, default: []}
  groups: {description: Groups with C(name) and C(gid)., type: raw, default: []}
  depot: {description: "URL of a file that the source of packages must have, or empty.", type: str, default: ""}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Ask the machine about a disk
  preflight_facts:
    now: "{{ now(utc=true).timestamp() }}"
    devices: [/dev/disk/by-id/wwn-0x5000c500a1b2c3d4]
    fsid: "{{ ceph_fsid }}"
"""
RETURN = r"""
facts:
  description: What the machine says; see C(appliance/preflight/live.py) for who reads what.
  returned: always
  type: dict
"""


def os_release() -> dict[str, str]:
    """The fields of /etc/os-release (os-release(5)), without quotes."""
    lines = Path("/etc/os-release").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip('"') for key, value in pairs}


def is_own_address(address: str) -> bool:
    """Whether ``address`` (IPv4 or IPv6) is one of the machine's own: no other can be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def user(name: str, uid: int) -> dict[str, object]:
    """Who has the name and the uid here: ``uid_of_name`` and ``name_of_uid``, each None for nobody."""
    try:
        uid_of_name: int | None = pwd.getpwnam(name).pw_uid
    except KeyError:
        uid_of_name = None
    try:
        name_of_uid: str | None = pwd.getpwuid(uid).pw_name
    except KeyError:
        name_of_uid = None
    return {"name": name, "uid": uid, "uid_of_name": uid_of_name, "name_of_uid": name_of_uid}


def group(name: str, gid: int) -> dict[str, object]:
    """Which groups have the name and the gid here: ``gid_of_name`` and ``name_of_gid``, each None for no group."""
    try:
        gid_of_name: int | None = grp.getgrnam(name).gr_gid
    except KeyError:
        gid_of_name = None
    try:
        name_of_gid: str | None = grp.getgrgid(gid).gr_name
    except KeyError:
        name_of_gid = None
    return {"name": name, "gid": gid, "gid_of_name": gid_of_name, "name_of_gid": name_of_gid}


def listeners() -> dict[str, list[str]]:
    """Return for each TCP port that is listened on the units (else the programs) that hold it."""
    inodes: dict[str, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            fields = line.split()
            if fields[3] == "0A":
                inodes[f"socket:[{fields[9]}]"] = int(fields[1].rsplit(":", 1)[1], 16)
    found: dict[str, set[str]] = {str(port): set() for port in inodes.values()}
    for link in glob.glob("/proc/[0-9]*/fd/*") if inodes else []:  # noqa: PTH207  (200,000 links; paths are slow)
        try:
            target = os.readlink(link)  # noqa: PTH115
        except OSError:
            continue  # the process or the file is gone by now
        if target in inodes:
            found[str(inodes[target])].add(holder(link.split("/")[2]))
    return {port: sorted(names) or ["a process that cannot be seen"] for port, names in found.items()}


def holder(pid: str) -> str:
    """Return the systemd unit of a process, or its program where it belongs to none."""
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text().split()
        program = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process that has just ended"
    for part in reversed([part for group in groups for part in group.split("/")]):
        if part.endswith((".service", ".socket")):
            return part
    return program


def depot(url: str) -> dict[str, str]:
    """Ask for the file at ``url``, never by a proxy: ``error`` says why it cannot be had, and is empty if it can."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, method="HEAD"), timeout=10):  # noqa: S310
            return {"url": url, "error": ""}
    except urllib.error.HTTPError as error:
        return {"url": url, "error": f"HTTP {error.code}"}
    except OSError as error:
        return {"url": url, "error": str(getattr(error, "reason", error))}


def entries(value: object) -> list[Any]:
    """The list, or an empty one where the value is none."""
    return value if isinstance(value, list) else []


def has(item: object, number: str) -> bool:
    """Tell whether ``item`` has a name and a ``number`` (uid or gid) that the machine can be asked about."""
    return isinstance(item, dict) and isinstance(item.get("name"), str) and type(item.get(number)) is int


def facts(module: AnsibleModule) -> dict[str, Any]:
    """All that the machine is asked, as JSON takes it: sizes in bytes, the clock's offset in seconds."""
    asked = module.params
    now = time.time()
    release = os_release()
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    room = os.statvfs("/")
    devices = [path for path in entries(asked["devices"]) if isinstance(path, str)]
    disks = survey(module.run_command, devices, str(asked["fsid"]))
    return {
        "os_id": release.get("ID"),
        "os_version": release.get("VERSION_ID"),
        "machine": platform.machine(),
        "machine_id": Path("/etc/machine-id").read_text().strip(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "memory_bytes": int(memory.split()[1]) * 1024,
        "free_bytes": room.f_bavail * room.f_frsize,
        "clock_offset_seconds": now - asked["now"],
        "addresses": {address: is_own_address(address) for address in entries(asked["addresses"])},
        "users": [user(item["name"], item["uid"]) for item in entries(asked["users"]) if has(item, "uid")],
        "groups": [group(item["name"], item["gid"]) for item in entries(asked["groups"]) if has(item, "gid")],
        # Without the label: it holds the OSD's key.
        "disks": {
            path: {"state": str(verdict.state), "reason": verdict.reason, "fix": verdict.fix}
            for path, verdict in disks.items()
        },
        "ports": listeners(),
        "depot": depot(asked["depot"]) if asked["depot"] else None,
    }


def main() -> None:
    """Return the facts. What the inventory may have wrong comes as ``raw``, and is passed over where it is no list."""
    module = AnsibleModule(
        argument_spec={
            "now": {"type": "float", "required": True},
            "addresses": {"type": "raw", "default": []},
            "devices": {"type": "raw", "default": []},
            "fsid": {"type": "raw", "default": ""},
            "users": {"type": "raw", "default": []},
            "groups": {"type": "raw", "default": []},
            "depot": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, facts=facts(module))


if __name__ == "__main__":
    main()
