"""The script that machines run: its parts that need neither root nor a disk."""

from __future__ import annotations

import grp
import importlib.util
import json
import os
import pwd
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "roles/preflight/files/gather.py"


@pytest.fixture(scope="module")
def gather() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gather", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


def label(pairs: dict[str, str]) -> bytes:
    body = bytes(16) + struct.pack("<Q", 2**40) + bytes(8) + text("main") + struct.pack("<I", len(pairs))
    body += b"".join(text(key) + text(value) for key, value in pairs.items())
    head = b"bluestore block device\n" + b"f" * 36 + b"\n" + struct.pack("<BBI", 2, 1, len(body)) + body
    return head.ljust(4096, b"\0")


def test_a_label_tells_cluster_and_number_and_never_the_key(gather: ModuleType) -> None:
    pairs = {"ceph_fsid": "the cluster", "osd_key": "CANARY", "whoami": "7", "ready": "ready"}
    assert gather.osd_label(label(pairs)) == {"ceph_fsid": "the cluster", "whoami": "7"}


def test_a_label_without_a_cluster_is_an_osd_of_nobody_known(gather: ModuleType) -> None:
    assert gather.osd_label(label({})) == {"ceph_fsid": "unknown", "whoami": "unknown"}


def test_an_empty_disk_has_no_label(gather: ModuleType) -> None:
    assert gather.osd_label(bytes(4096)) is None


def test_the_answer_of_this_machine(tmp_path: Path) -> None:
    me, group = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    plain = tmp_path / "file"
    plain.write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        questions = {
            "now": time.time() - 100,
            "addresses": ["127.0.0.1", "192.0.2.1", "no address"],
            "devices": [str(tmp_path / "none"), str(plain), 3],
            "users": [
                {"name": me.pw_name, "uid": me.pw_uid},
                {"name": "nobody-at-all", "uid": 59_999},
                "?",
                {"uid": 1},
            ],
            "groups": [{"name": group.gr_name, "gid": group.gr_gid}, {"name": "nobody-at-all", "gid": 59_999}, None],
            "depot": f"http://127.0.0.1:{_closed_port()}/",
        }
        run = [sys.executable, str(SCRIPT), json.dumps(questions)]
        answer = json.loads(subprocess.run(run, capture_output=True, check=True).stdout)
    assert 100 <= answer["clock_offset_seconds"] < 160
    assert answer["addresses"] == {"127.0.0.1": True, "192.0.2.1": False, "no address": False}
    assert answer["disks"] == {questions["devices"][0]: {"exists": False}, str(plain): {"exists": True, "block": False}}
    assert answer["users"] == [
        {"name": me.pw_name, "uid": me.pw_uid, "uid_of_name": me.pw_uid, "name_of_uid": me.pw_name},
        {"name": "nobody-at-all", "uid": 59_999, "uid_of_name": None, "name_of_uid": None},
    ]
    assert answer["groups"] == [
        {"name": group.gr_name, "gid": group.gr_gid, "gid_of_name": group.gr_gid, "name_of_gid": group.gr_name},
        {"name": "nobody-at-all", "gid": 59_999, "gid_of_name": None, "name_of_gid": None},
    ]
    assert len(answer["ports"][str(port)]) == 1
    assert "refused" in answer["depot"]["error"]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
