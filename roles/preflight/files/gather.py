"""Say, as one JSON object, what a preflight check wants to know of this machine. Reads only; needs only Python.

Usage: gather.py QUESTIONS, a JSON object: now (seconds since 1970 on the control host), addresses, devices, users
(objects with name and uid), groups (with name and gid), depot (URL of a file that the package source must have, or
empty). They come from an inventory that nobody has judged yet: what is not of the right kind is left out here and
reported by the judge.
"""

import glob
import grp
import json
import os
import platform
import pwd
import socket
import stat
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

LABEL = b"bluestore block device\n"
SAMPLE_BYTES = 2**20


def os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip('"') for key, value in pairs}


def is_own_address(address: str) -> bool:
    """Only an address of one of the machine's own cards can be bound to."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def user(name: str, uid: int) -> dict[str, object]:
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
    try:
        gid_of_name: int | None = grp.getgrnam(name).gr_gid
    except KeyError:
        gid_of_name = None
    try:
        name_of_gid: str | None = grp.getgrgid(gid).gr_name
    except KeyError:
        name_of_gid = None
    return {"name": name, "gid": gid, "gid_of_name": gid_of_name, "name_of_gid": name_of_gid}


def osd_label(head: bytes) -> dict[str, str] | None:
    """Return what a BlueStore label says of its cluster, or None where ``head`` (4 KiB) begins with no label.

    Layout (ceph src/os/bluestore/bluestore_types.cc, bluestore_bdev_label_t): a text line, the OSD's uuid as text,
    then little endian: version and compat (1 byte each), length (4), uuid (16), size (8), time (8), description
    (4 + n), number of pairs (4), and pairs of texts (4 + n each). Only the cluster's id and the OSD's number are
    taken: the pairs hold the OSD's key as well.
    """
    if not head.startswith(LABEL):
        return None
    at = len(LABEL) + 36 + 1 + 1 + 1 + 4 + 16 + 8 + 8

    def text() -> str:
        nonlocal at
        (length,) = struct.unpack_from("<I", head, at)
        at += 4 + length
        return head[at - length : at].decode("utf-8", "replace")

    text()
    (count,) = struct.unpack_from("<I", head, at)
    at += 4
    pairs = {text(): text() for _ in range(min(count, 64))}
    return {key: pairs.get(key, "unknown") for key in ("ceph_fsid", "whoami")}


def disk(path: str) -> dict[str, object]:
    if not os.path.exists(path):  # noqa: PTH110  (a dangling link is what it is)
        return {"exists": False}
    info = os.stat(path)  # noqa: PTH116
    if not stat.S_ISBLK(info.st_mode):
        return {"exists": True, "block": False}
    system = Path(f"/sys/dev/block/{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}").resolve()
    with open(path, "rb") as file:  # noqa: PTH123
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(SAMPLE_BYTES)
    label = osd_label(head[:4096])
    found = subprocess.run(["wipefs", "--no-act", "--json", path], capture_output=True, text=True, check=True).stdout
    signatures = json.loads(found).get("signatures", []) if found.strip() else []
    numbers = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        "exists": True,
        "block": True,
        "bytes": size,
        "osd_fsid": label["ceph_fsid"] if label else None,
        "osd_id": label["whoami"] if label else None,
        "mounts": sorted({fields[4] for fields in mounts if fields[2] == numbers}),
        "partitions": sorted(part.parent.name for part in system.glob("*/partition")),
        "signatures": sorted({str(entry["type"]) for entry in signatures}),
        "dirty": any(head),
    }


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
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, method="HEAD"), timeout=10):  # noqa: S310
            return {"url": url, "error": ""}
    except urllib.error.HTTPError as error:
        return {"url": url, "error": f"HTTP {error.code}"}
    except OSError as error:
        return {"url": url, "error": str(getattr(error, "reason", error))}


def entries(value: object) -> list:
    return value if isinstance(value, list) else []


def has(item: object, number: str) -> bool:
    """Tell whether ``item`` has a name and a ``number`` (uid or gid) that the machine can be asked about."""
    return isinstance(item, dict) and isinstance(item.get("name"), str) and type(item.get(number)) is int


def main() -> None:
    questions = json.loads(sys.argv[1])
    now = time.time()
    release = os_release()
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    room = os.statvfs("/")
    answer = {
        "os_id": release.get("ID"),
        "os_version": release.get("VERSION_ID"),
        "machine": platform.machine(),
        "machine_id": Path("/etc/machine-id").read_text().strip(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "memory_bytes": int(memory.split()[1]) * 1024,
        "free_bytes": room.f_bavail * room.f_frsize,
        "clock_offset_seconds": now - float(questions["now"]),
        "addresses": {address: is_own_address(address) for address in questions["addresses"]},
        "users": [user(item["name"], item["uid"]) for item in entries(questions["users"]) if has(item, "uid")],
        "groups": [group(item["name"], item["gid"]) for item in entries(questions["groups"]) if has(item, "gid")],
        "disks": {path: disk(path) for path in entries(questions["devices"]) if isinstance(path, str)},
        "ports": listeners(),
        "depot": depot(questions["depot"]) if questions["depot"] else None,
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
