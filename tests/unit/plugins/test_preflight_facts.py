"""What a machine says for the preflight: its parts that need neither root nor a disk."""

from __future__ import annotations

import grp
import http.server
import json
import os
import pwd
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


FSID = "0f6a3f0e-0000-4000-8000-000000000001"


def machine_of_a_cluster(root: Path) -> Path:
    (root / "etc/ceph").mkdir(parents=True)
    (root / "etc/ceph/ceph.conf").write_text(f"[global]\nfsid = {FSID}\nmon_host = 10.0.0.1\n")
    return root


def test_a_machine_without_the_admin_key_says_what_ceph_conf_names(tmp_path: Path) -> None:
    def nobody(*_: object, **__: object) -> tuple[int, str, str]:
        raise AssertionError("the monitors were asked without a key")

    said = preflight_facts.ceph(nobody, [{"osd": {"osd_max_backfills": 1}}], machine_of_a_cluster(tmp_path))
    assert said == {"conf_fsid": FSID, "fsid": "", "settings": {}}


def test_the_monitors_tell_what_the_release_knows_of_settings(tmp_path: Path) -> None:
    root = machine_of_a_cluster(tmp_path)
    (root / "etc/ceph/ceph.client.admin.keyring").write_text("")
    answers = {
        "fsid": {"fsid": FSID},
        "config ls": ["osd_max_backfills", "osd_memory_target"],
        "config help": {"name": "osd_max_backfills", "type": "uint", "min": "", "max": ""},
    }

    def monitors(_: list[str], data: str) -> tuple[int, str, str]:
        commands = json.loads(data)[3]
        return 0, json.dumps([[0, json.dumps(answers[command["prefix"]]), ""] for command in commands]), ""

    asked = [{"osd": {"osd max backfills": 1, "osd_memry_target": 5, "mgr/x/y": 1}, "mon": 3}, "?"]
    said = preflight_facts.ceph(monitors, asked, root)
    assert said is not None
    assert said["fsid"] == FSID
    assert said["settings"]["osd_max_backfills"]["type"] == "uint"
    assert said["settings"]["osd_memry_target"] == {"near": ["osd_memory_target"]}
    assert set(said["settings"]) == {"osd_max_backfills", "osd_memry_target"}


def test_monitors_that_do_not_answer_are_no_failure_of_the_module(tmp_path: Path) -> None:
    root = machine_of_a_cluster(tmp_path)
    (root / "etc/ceph/ceph.client.admin.keyring").write_text("")
    said = preflight_facts.ceph(lambda *_, **__: (1, "", "timed out"), [], root)
    assert said is not None
    assert "timed out" in said["error"]
    assert said["conf_fsid"] == FSID


def test_packages_are_looked_for_in_the_lists_of_the_sites_mirror(tmp_path: Path) -> None:
    sources = tmp_path / "appliance.sources"
    sources.write_text("Types: deb\nURIs: http://10.0.0.1/debian\nSuites: trixie\n")
    wanted = ["curl", "tmux=3.5a-3", "gcc:amd64", "nosuchpackage"]

    def lists(*_: object) -> tuple[int, str, str]:
        return 0, "base-files\ncurl\ntmux\ngcc\n", ""

    missing = preflight_facts.packages_missing
    assert missing(lists, wanted, "http://10.0.0.1/debian", sources) == ["nosuchpackage"]
    assert missing(lists, wanted, "http://10.0.0.2/debian", sources) == []
    assert missing(lambda *_: (0, "", ""), wanted, "http://10.0.0.1/debian", sources) == []
    assert missing(lists, wanted, "http://10.0.0.1/debian", tmp_path / "none") == []


def test_a_time_server_says_the_time_or_not() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]

        def serve() -> None:
            for size in (48, 3, 3, 3, 48):
                question, client = server.recvfrom(512)
                server.sendto(question[:size], client)

        thread = threading.Thread(target=serve)
        thread.start()
        assert preflight_facts.time_server("127.0.0.1", port, 10) == ""
        assert preflight_facts.time_server("127.0.0.1", port, 10) == "its answer is no time"
        # The first packet may be lost.
        assert preflight_facts.time_server("127.0.0.1", port, 10) == ""
        thread.join()
        assert "no answer within" in preflight_facts.time_server("127.0.0.1", port, 0.01)


def test_time_servers_are_asked_until_one_says_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"first": "no answer", "second": "", "third": "no answer"}
    monkeypatch.setattr(preflight_facts, "time_server", said.__getitem__)
    assert preflight_facts.time_servers([*said]) == {"first": "no answer", "second": ""}


@pytest.mark.parametrize(("path", "error"), [("/there", ""), ("/nowhere", "HTTP 404")])
def test_a_server_that_takes_no_head_is_asked_by_get(path: str, error: str) -> None:
    class Files(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(405)

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/there" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert preflight_facts.answer(f"http://127.0.0.1:{server.server_port}{path}") == error
        server.shutdown()
        thread.join()


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
