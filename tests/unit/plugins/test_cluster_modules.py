"""What the modules decide about keys, settings, monitors' addresses and users."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils import ceph_cli

import ceph_auth
import ceph_config
import ceph_mon_store
import ceph_s3_users


def test_identities_are_made_or_given_other_rights_or_left() -> None:
    wanted = {"mgr.a": {"mon": "allow profile mgr"}, "mgr.b": {"mon": "allow r"}, "mgr.c": {"mon": "allow r"}}
    present = {"mgr.b": {"caps": {"mon": "allow *"}}, "mgr.c": {"caps": {"mon": "allow r"}}}
    assert ceph_auth.work_needed(wanted, present) == (["mgr.a"], ["mgr.b"])


def entry(section: str, name: str, value: str, mask: str = "") -> dict[str, Any]:
    return {"section": section, "name": name, "value": value, "mask": mask}


def test_only_other_values_are_set() -> None:
    present = ceph_config.stored([entry("osd", "memory", "4096"), entry("global", "flag", "false")])
    wanted = {"osd": {"memory": 4096}, "global": {"flag": True}}
    assert ceph_config.differences(wanted, present) == {"global": {"flag": "true"}}


def test_a_setting_for_one_host_is_nobodys_default() -> None:
    assert ceph_config.stored([entry("osd", "memory", "1", mask="host:store1")]) == {}


def test_a_value_that_the_monitors_write_in_another_way_is_no_change() -> None:
    before = {"osd": {"memory": "4294967296"}}
    assert ceph_config.changed_sections(before, {"osd": {"memory": "4294967296"}}) == []
    assert ceph_config.changed_sections(before, {"osd": {"memory": "1"}, "mon": {"a": "b"}}) == ["mon", "osd"]


def test_monitors_are_named_with_both_protocols() -> None:
    assert ceph_mon_store.addresses({"b": "10.0.0.2", "a": "10.0.0.1"}) == [
        "--addv", "a", "[v2:10.0.0.1:3300,v1:10.0.0.1:6789]",
        "--addv", "b", "[v2:10.0.0.2:3300,v1:10.0.0.2:6789]",
    ]  # fmt: skip


def test_the_first_failure_ends_a_row_of_commands_and_is_named() -> None:
    answer = '[[0, "done", ""], [-22, "", "pool size is bound"]]'
    cluster = ceph_cli.Cluster(lambda _command, data: (0 if data else 1, answer, ""))
    with pytest.raises(ceph_cli.CephError, match=r"osd pool set data.*-22: pool size is bound"):
        cluster.tell([{"prefix": "osd pool create", "pool": "data"}, {"prefix": "osd pool set", "pool": "data"}, {}])


def test_the_current_key_is_the_users_own_and_does_not_end() -> None:
    keys = [{"user": user, "access_key": key, "secret_key": "y"} for user, key in (("alice:sub", "x"), ("alice", "z"))]
    shown = {"user_id": "alice", "keys": keys}
    assert ceph_s3_users.current_key(shown, []) == ("z", "y")
    assert ceph_s3_users.current_key(shown, ["z"]) is None
    assert ceph_s3_users.current_key({"user_id": "alice", "keys": []}, []) is None
