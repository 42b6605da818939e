"""What a machine says for the preflight: its parts that need neither root nor a disk."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import preflight_facts


def test_the_answer_of_this_machine(answer: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    me, group = pwd.getpwuid(os.getuid()), grp.getgrgid(os.getgid())
    plain = tmp_path / "file"
    plain.write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        questions = {
            "now": time.time() - 100,
            "addresses": ["127.0.0.1", "192.0.2.1", "no address"],
            "devices": ["/dev/disk/by-id/there-is-none", str(plain), 3],
            "users": [
                {"name": me.pw_name, "uid": me.pw_uid},
                {"name": "nobody-at-all", "uid": 59_999},
                "?",
                {"uid": 1},
            ],
            "groups": [{"name": group.gr_name, "gid": group.gr_gid}, {"name": "nobody-at-all", "gid": 59_999}, None],
            "urls": [
                {"variable": "depot_url", "url": f"http://127.0.0.1:{_closed_port()}/"},
                {"variable": "node_base_apt_uri", "url": "depot"},
                "?",
            ],
            "time_servers": ["no address", 7],
            "packages": ["nosuchpackage"],
            "mirror": "http://192.0.2.1/debian",
            "settings": [{"osd": {"osd_max_backfills": 1}}],
        }
        said = answer(preflight_facts, **questions)["facts"]
    assert said["clock_offset_seconds"] >= 100
    assert said["addresses"] == {"127.0.0.1": True, "192.0.2.1": False, "no address": False}
    assert {path: disk["state"] for path, disk in said["disks"].items()} == {
        "/dev/disk/by-id/there-is-none": "missing",
        str(plain): "unstable",
    }
    assert said["users"] == [
        {"name": me.pw_name, "uid": me.pw_uid, "uid_of_name": me.pw_uid, "name_of_uid": me.pw_name},
        {"name": "nobody-at-all", "uid": 59_999, "uid_of_name": None, "name_of_uid": None},
    ]
    assert said["groups"] == [
        {"name": group.gr_name, "gid": group.gr_gid, "gid_of_name": group.gr_gid, "name_of_gid": group.gr_name},
        {"name": "nobody-at-all", "gid": 59_999, "gid_of_name": None, "name_of_gid": None},
    ]
    assert len(said["ports"][str(port)]) == 1
    assert "refused" in said["urls"][0]["error"]
    assert "unknown url" in said["urls"][1]["error"]
    assert len(said["urls"]) == 2
    assert said["time_servers"]["no address"]
    # Neither the site's sources nor a cluster are on this machine: nothing is judged by others' lists.
    assert (said["packages_missing"], said["ceph"]) == ([], None)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
