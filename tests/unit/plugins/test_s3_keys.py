"""New keys come before old ones end, whatever stops in between."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ceph_s3_users
from appliance import s3_keys

HOUR = 3600


class Gateways:
    """`radosgw-admin` with users and their keys in memory."""

    def __init__(self, **keys: list[str]) -> None:
        self.keys = keys

    def __call__(self, words: Sequence[str]) -> dict[str, Any]:
        given = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word)
        user = given.get("uid", words[-1])
        if words[:2] == ["key", "create"]:
            self.keys[user].append(f"new-{len(self.keys[user])}")
        if words[:2] == ["key", "rm"]:
            self.keys[user].remove(given["access-key"])
        keys = [{"user": user, "access_key": key, "secret_key": f"secret of {key}"} for key in self.keys[user]]
        limits = {"user_quota": {"enabled": True, "max_size": 2**30, "max_objects": 9}, "max_buckets": 9}
        return {"user_id": user, "keys": keys, **limits}

    def rgw(self, *words: str) -> Any:
        """As `Cluster` asks."""
        if words[:2] == ("bucket", "stats"):
            return {"owner": words[-1]}
        return self(list(words))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "var/s3-keys-ending.json"


def run(gateways: Gateways, file: Path, *rotated: str, hours: float = 1) -> dict[str, str]:
    """One run of the module for all users: the access keys that their files get."""
    asked = {"rotate": list(rotated), "valid_hours": hours, "ending": str(file)}
    limits = {"gib_max": 1, "objects_max": 9, "buckets_max": 9}
    module: Any = SimpleNamespace(params={**asked, **limits}, check_mode=False)
    cluster: Any = gateways
    ceph_s3_users.rotate(module, cluster, gateways.keys)
    ending = {entry["access_key"] for entry in ceph_s3_users.noted(file)}
    told = {}
    for name in gateways.keys:
        served = ceph_s3_users.serve(module, cluster, {"name": name}, True, list(gateways.keys), ending)
        told[name] = served.credentials.split("access_key_id = ")[1].split("\n")[0]
    return told


def test_one_gets_a_new_key_and_the_old_one_ends_at_its_time(file: Path) -> None:
    gateways = Gateways(alice=["old"], bob=["kept"])
    assert run(gateways, file) == {"alice": "old", "bob": "kept"}
    assert run(gateways, file, "alice") == {"alice": "new-1", "bob": "kept"}
    # Another run keeps what the last one gave, and both keys are there until the time has come.
    assert run(gateways, file) == {"alice": "new-1", "bob": "kept"}
    (entry,) = json.loads(file.read_text())
    assert s3_keys.end(file, entry["ends"] - 1, gateways) == ([], [])
    assert gateways.keys == {"alice": ["old", "new-1"], "bob": ["kept"]}
    assert s3_keys.end(file, entry["ends"], gateways) == (["the key old of alice has ended"], [])
    assert gateways.keys == {"alice": ["new-1"], "bob": ["kept"]}
    assert s3_keys.end(file, entry["ends"], gateways) == ([], [])
    assert run(gateways, file) == {"alice": "new-1", "bob": "kept"}


def test_a_run_that_dies_before_it_made_the_new_key_locks_nobody_out(file: Path) -> None:
    gateways = Gateways(alice=["old"])
    ceph_s3_users.note(file, [("alice", "old")], 0)
    ((said,), _) = s3_keys.end(file, 1, gateways)
    assert said.startswith("alice keeps the key old: there is no newer one")
    assert run(gateways, file) == {"alice": "new-1"}
    assert s3_keys.end(file, 1, gateways) == (["the key old of alice has ended"], [])


def test_keys_that_are_gone_already_are_forgotten(file: Path) -> None:
    gateways = Gateways(alice=["new"])
    ceph_s3_users.note(file, [("alice", "old")], 0)
    s3_keys.end(file, 1, gateways)
    assert json.loads(file.read_text()) == []


def test_where_the_cluster_refuses_the_others_end_all_the_same(file: Path) -> None:
    gateways = Gateways(bob=["old-too", "newer"], alice=["old", "new"])
    ceph_s3_users.note(file, [("bob", "old-too"), ("zoe", "gone"), ("alice", "old")], 0)

    def refuses(words: Sequence[str]) -> dict[str, Any]:
        if "--uid=bob" in words:
            raise s3_keys.AdminError("no answer")
        if "--uid=zoe" in words:
            raise s3_keys.AdminError("could not fetch user info: no user info saved")
        return gateways(words)

    said, faults = s3_keys.end(file, 1, refuses)
    assert said == ["the key gone of zoe has ended", "the key old of alice has ended"]
    assert faults == ["the key old-too of bob: no answer"]
    assert [entry["user"] for entry in json.loads(file.read_text())] == ["bob"]
    assert gateways.keys == {"alice": ["new"], "bob": ["old-too", "newer"]}


def test_who_has_a_key_that_ends_keeps_when_it_does(file: Path) -> None:
    gateways = Gateways(alice=["old"])
    run(gateways, file, "alice", hours=1)
    (first,) = json.loads(file.read_text())
    run(gateways, file, "alice", hours=100)
    ends = {entry["access_key"]: entry["ends"] for entry in json.loads(file.read_text())}
    assert ends["old"] == first["ends"]
    assert ends["new-1"] > first["ends"] + 90 * HOUR
    # One that has been seen by somebody can be made to end at once.
    run(gateways, file, "alice", hours=0)
    assert max(entry["ends"] for entry in json.loads(file.read_text())) <= time.time()
    assert file.stat().st_mode & 0o777 == 0o600
