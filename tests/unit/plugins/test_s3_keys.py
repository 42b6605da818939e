"""New keys come before old ones end, whatever stops in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils import s3_old_keys

import ceph_s3_users
from appliance import s3_keys

HOUR = 3600


class Ceph:
    """A cluster with users, their keys, and its config-key store, in memory."""

    def __init__(self, **keys: list[str]) -> None:
        self.keys = keys
        self.store: dict[str, str] = {}

    def ask(self, prefix: str, key: str) -> dict[str, str]:
        """As modules ask the monitors."""
        assert prefix == "config-key dump"
        return {name: value for name, value in self.store.items() if name.startswith(key)}

    def tell(self, commands: Sequence[Mapping[str, Any]]) -> None:
        for command in commands:
            assert command["prefix"] == "config-key set"
            self.store[command["key"]] = command["val"]

    def rgw(self, *words: str) -> dict[str, Any]:
        """As modules call `radosgw-admin`."""
        if words[:2] == ("bucket", "stats"):
            return {"owner": words[-1]}
        given = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word)
        user = given.get("uid", words[-1])
        if words[:2] == ("key", "create"):
            self.keys[user].append(f"new-{len(self.keys[user])}")
        if words[:2] == ("key", "rm"):
            self.keys[user].remove(given["access-key"])
        keys = [{"user": user, "access_key": key, "secret_key": f"secret of {key}"} for key in self.keys[user]]
        limits = {"user_quota": {"enabled": True, "max_size": 2**30, "max_objects": 9}, "max_buckets": 9}
        return {"user_id": user, "keys": keys, **limits}

    def __call__(self, words: Sequence[str]) -> dict[str, Any]:
        """As the program asks that ends keys."""
        if words[:3] == ["ceph", "config-key", "dump"]:
            return dict(self.ask("config-key dump", words[3]))
        if words[:3] == ["ceph", "config-key", "rm"]:
            del self.store[words[3]]
            return {}
        return self.rgw(*words[1:])

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        cluster: Any = self
        return s3_old_keys.noted(cluster)


def run(ceph: Ceph, *rotated: str, hours: float = 1) -> dict[str, str]:
    """One run of the module that makes keys, for all users: the access keys that their files get."""
    users = [{"name": name} for name in ceph.keys]
    limits = {"gib_max": 1, "objects_max": 9, "buckets_max": 9}
    parameters = {"users": users, "rotate": list(rotated), "valid_hours": hours, **limits}
    parameters |= {"scratch": False, "endpoint": ""}
    module: Any = SimpleNamespace(params=parameters, check_mode=False, run_command=None)
    cluster: Any = ceph
    ceph_s3_users.rotate(module, cluster, ceph.keys)
    told = {}
    for user in users:
        served = ceph_s3_users.serve(module, cluster, user, True, list(ceph.keys), ceph.entries)
        told[user["name"]] = served.credentials.split("access_key_id = ")[1].split("\n")[0]
    return told


def begin(ceph: Ceph, now: float) -> None:
    """What comes when all machines have the new keys."""
    cluster: Any = ceph
    s3_old_keys.begin(cluster, s3_old_keys.waiting(cluster), now)


def test_both_programs_know_one_place() -> None:
    assert s3_keys.PLACE == s3_old_keys.PLACE


def test_one_gets_a_new_key_and_the_old_one_ends_at_its_time() -> None:
    ceph = Ceph(alice=["old"], bob=["kept"])
    assert run(ceph) == {"alice": "old", "bob": "kept"}
    assert run(ceph, "alice") == {"alice": "new-1", "bob": "kept"}
    begin(ceph, 0)
    # Another run keeps what the last one gave, and both keys are there until the time has come.
    assert run(ceph) == {"alice": "new-1", "bob": "kept"}
    begin(ceph, HOUR)
    assert ceph.entries == {"old": {"user": "alice", "ends": HOUR}}
    assert s3_keys.end(HOUR - 1, ceph) == ([], [])
    assert ceph.keys == {"alice": ["old", "new-1"], "bob": ["kept"]}
    assert s3_keys.end(HOUR, ceph) == (["the key old of alice has ended"], [])
    assert ceph.keys == {"alice": ["new-1"], "bob": ["kept"]}
    assert s3_keys.end(HOUR, ceph) == ([], [])
    assert run(ceph) == {"alice": "new-1", "bob": "kept"}


@pytest.mark.parametrize(
    ("has", "wanted", "commands"),
    [
        ([], "buckets=read", [("add", "buckets=read")]),
        (["buckets=read"], "buckets=read", []),
        (["buckets=*", "users=read"], "buckets=read", [("rm", "buckets=*;users=read"), ("add", "buckets=read")]),
        (["users=*"], None, []),
    ],
)
def test_a_user_has_the_right_that_is_named_and_no_other(
    has: list[str], wanted: str | None, commands: list[tuple[str, str]]
) -> None:
    shown = {"caps": [dict(zip(("type", "perm"), cap.split("="), strict=True)) for cap in has]}
    asked = {"name": "x", **({"caps": wanted} if wanted else {})}
    told = ceph_s3_users.caps_commands(asked, shown)
    assert told == [["caps", verb, "--uid=x", f"--caps={caps}"] for verb, caps in commands]


def test_an_old_key_stays_until_all_machines_have_the_new_one() -> None:
    ceph = Ceph(alice=["old"])
    run(ceph, "alice", hours=0)
    assert s3_keys.end(9 * HOUR, ceph) == ([], [])
    assert ceph.keys == {"alice": ["old", "new-1"]}
    begin(ceph, 9 * HOUR)
    assert s3_keys.end(9 * HOUR, ceph) == (["the key old of alice has ended"], [])


def test_a_run_that_dies_before_it_made_the_new_key_locks_nobody_out() -> None:
    ceph = Ceph(alice=["old"])
    cluster: Any = ceph
    s3_old_keys.note(cluster, [("alice", "old")], 0)
    begin(ceph, 0)
    ((said,), _) = s3_keys.end(1, ceph)
    assert said.startswith("alice keeps the key old: there is no newer one")
    assert run(ceph) == {"alice": "new-1"}
    assert s3_keys.end(1, ceph) == (["the key old of alice has ended"], [])


def test_keys_that_are_gone_already_are_forgotten() -> None:
    ceph = Ceph(alice=["new"])
    cluster: Any = ceph
    s3_old_keys.note(cluster, [("alice", "old")], 0)
    begin(ceph, 0)
    s3_keys.end(1, ceph)
    assert ceph.entries == {}


def test_where_the_cluster_refuses_the_others_end_all_the_same() -> None:
    ceph = Ceph(bob=["old-too", "newer"], alice=["old", "new"])
    cluster: Any = ceph
    s3_old_keys.note(cluster, [("bob", "old-too"), ("zoe", "gone"), ("alice", "old")], 0)
    begin(ceph, 0)

    def refuses(words: Sequence[str]) -> dict[str, Any]:
        if "--uid=bob" in words:
            raise s3_keys.CommandError("no answer")
        if "--uid=zoe" in words:
            raise s3_keys.CommandError("could not fetch user info: no user info saved")
        return ceph(words)

    said, faults = s3_keys.end(1, refuses)
    assert said == ["the key gone of zoe has ended", "the key old of alice has ended"]
    assert faults == ["the key old-too of bob: no answer"]
    assert list(ceph.entries) == ["old-too"]
    assert ceph.keys == {"alice": ["new"], "bob": ["old-too", "newer"]}


def test_who_has_a_key_that_ends_keeps_when_it_does() -> None:
    ceph = Ceph(alice=["old"])
    run(ceph, "alice", hours=1)
    begin(ceph, 0)
    run(ceph, "alice", hours=100)
    begin(ceph, 0)
    assert ceph.entries == {"old": {"user": "alice", "ends": HOUR}, "new-1": {"user": "alice", "ends": 100 * HOUR}}
    # One that has been seen by somebody can be made to end at once.
    run(ceph, "alice", hours=0)
    begin(ceph, 9)
    assert max(entry["ends"] for entry in ceph.entries.values()) == 9
