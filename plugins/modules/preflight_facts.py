#!/usr/bin/python3
"""Ansible module: what the preflight wants to know of a machine. Reads only."""

from __future__ import annotations

import difflib
import glob
import grp
import http.client
import json
import os
import platform
import pwd
import re
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import ADMIN_KEYRING, CephError, Cluster, Run
from ansible.module_utils.disk_contents import survey

APT_SOURCES = Path("/etc/apt/sources.list.d/appliance.sources")

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
  urls:
    description: What the machine has to reach, each with C(url), and the C(variable) that says where it is.
    type: raw
    default: []
  time_servers: {description: Names or addresses of time servers., type: raw, default: []}
  packages: {description: Packages to look for in the machine's lists., type: raw, default: []}
  mirror: {description: "Address of the mirror that the lists have to come from to be asked.", type: raw, default: ""}
  settings: {description: "Settings of Ceph, as mappings of section to values by option.", type: raw, default: []}
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


def answer(url: str) -> str:
    """Ask for the file at ``url``, never by a proxy; return why it cannot be had, or nothing."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    said = ""
    for method in ("HEAD", "GET"):  # apt asks by GET, and some servers answer nothing else
        try:
            with opener.open(urllib.request.Request(url, method=method), timeout=10):  # noqa: S310
                return ""
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            return str(getattr(error, "reason", error))
    return said


def time_server(server: str, port: int = 123, seconds: float = 2.0) -> str:
    """Ask a time server for the time (RFC 4330, a client's packet); return why it does not say, or nothing.

    Each of its addresses is asked twice: a packet may be lost, and a machine may have no way to one of them.
    """
    try:
        addresses = socket.getaddrinfo(server, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or error)
    said = ""
    for family, kind, protocol, _, address in [*addresses, *addresses]:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.settimeout(seconds)
                probe.connect(address)
                probe.send(bytes([0x23]) + bytes(47))
                if len(probe.recv(512)) >= 48:
                    return ""
            said = "its answer is no time"
        except TimeoutError:
            said = f"no answer within {seconds:.0f} s"
        except OSError as error:
            said = str(error.strerror or error)
    return said


def time_servers(servers: list[str]) -> dict[str, str]:
    """Ask time servers until one says the time; return why each does not say it, and nothing for the one that does."""
    found: dict[str, str] = {}
    for server in servers:
        found[server] = time_server(server)
        if not found[server]:
            break
    return found


def packages_missing(run: Run, packages: list[str], mirror: str, sources: Path = APT_SOURCES) -> list[str]:
    """Return those of ``packages`` that apt's lists do not know; none where the lists are not the mirror's yet."""
    if not packages or not mirror or not sources.is_file() or f"URIs: {mirror}\n" not in sources.read_text():
        return []
    status, said, _ = run(["apt-cache", "-o", "APT::Cache::AllNames=true", "pkgnames"])
    known = set(said.split())
    names = {package: re.split("[:=/]", package)[0] for package in packages}
    # Lists that were never fetched know nothing.
    return [] if status or "base-files" not in known else [name for name in packages if names[name] not in known]


def ceph(run: Run, settings: object, root: Path = Path("/")) -> dict[str, Any] | None:
    """What the machine's cluster is, and what its release knows of ``settings``; nothing where there is none.

    ``conf_fsid`` is that of ceph.conf. ``fsid`` is what the monitors say, ``settings`` what they know of each option
    (``near``: names like it, of one that they do not know); both only on a machine that holds the admin key.
    """
    conf = root / "etc/ceph/ceph.conf"
    if not conf.is_file():
        return None
    found = re.search(r"(?m)^\s*fsid\s*=\s*(\S+)", conf.read_text())
    said: dict[str, Any] = {"conf_fsid": found[1] if found else "", "fsid": "", "settings": {}}
    if not (root / ADMIN_KEYRING.lstrip("/")).is_file():
        return said
    cluster = Cluster(run, wait=10)
    names = sorted({re.sub("[ -]", "_", name) for name in option_names(settings) if not name.startswith("mgr/")})
    try:
        said["fsid"] = cluster.ask("fsid")["fsid"]
        known = cluster.ask("config ls") if names else []
        present = [name for name in names if name in known]
        answers = cluster.tell([{"prefix": "config help", "format": "json", "key": name} for name in present])
        said["settings"] = {name: json.loads(text) for name, text in zip(present, answers, strict=True)}
        for name in set(names) - set(known):
            said["settings"][name] = {"near": difflib.get_close_matches(name, known, n=1)}
    except (CephError, ValueError, KeyError, TypeError) as error:
        said["error"] = str(error)
    return said


def option_names(settings: object) -> list[str]:
    """The options in mappings of section to values by option; what is none is left out."""
    sections = [part for group in entries(settings) if isinstance(group, dict) for part in group.values()]
    return [str(name) for section in sections if isinstance(section, dict) for name in section]


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
        "addresses": {
            address: is_own_address(address) for address in entries(asked["addresses"]) if isinstance(address, str)
        },
        "users": [user(item["name"], item["uid"]) for item in entries(asked["users"]) if has(item, "uid")],
        "groups": [group(item["name"], item["gid"]) for item in entries(asked["groups"]) if has(item, "gid")],
        # Without the label: it holds the OSD's key.
        "disks": {
            path: {"state": str(verdict.state), "reason": verdict.reason, "fix": verdict.fix}
            for path, verdict in disks.items()
        },
        "ports": listeners(),
        "urls": [
            {**one, "error": answer(str(one["url"]))}
            for one in entries(asked["urls"])
            if isinstance(one, dict) and {"url", "variable"} <= one.keys()
        ],
        "time_servers": time_servers([name for name in entries(asked["time_servers"]) if isinstance(name, str)]),
        "packages_missing": packages_missing(
            module.run_command,
            [name for name in entries(asked["packages"]) if isinstance(name, str)],
            str(asked["mirror"]),
        ),
        "ceph": ceph(module.run_command, asked["settings"]),
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
            "urls": {"type": "raw", "default": []},
            "time_servers": {"type": "raw", "default": []},
            "packages": {"type": "raw", "default": []},
            "mirror": {"type": "raw", "default": ""},
            "settings": {"type": "raw", "default": []},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, facts=facts(module))


if __name__ == "__main__":
    main()
