"""What the modules decide about keys, settings, monitors' addresses and signed requests."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def test_identities_are_made_or_given_other_rights_or_left(module: Callable[[str, str], ModuleType]) -> None:
    auth = module("ceph_modules", "ceph_auth")
    wanted = {"mgr.a": {"mon": "allow profile mgr"}, "mgr.b": {"mon": "allow r"}, "mgr.c": {"mon": "allow r"}}
    present = {"mgr.b": {"caps": {"mon": "allow *"}}, "mgr.c": {"caps": {"mon": "allow r"}}}
    assert auth.work_needed(wanted, present) == (["mgr.a"], ["mgr.b"])


@pytest.fixture(scope="module")
def config(module: Callable[[str, str], ModuleType]) -> ModuleType:
    return module("ceph_modules", "ceph_config")


def entry(section: str, name: str, value: str, mask: str = "") -> dict[str, Any]:
    return {"section": section, "name": name, "value": value, "mask": mask}


def test_only_other_values_are_set(config: ModuleType) -> None:
    present = config.stored([entry("osd", "memory", "4096"), entry("global", "flag", "false")])
    wanted = {"osd": {"memory": 4096}, "global": {"flag": True}}
    assert config.differences(wanted, present) == {"global": {"flag": "true"}}


def test_a_setting_for_one_host_is_nobodys_default(config: ModuleType) -> None:
    assert config.stored([entry("osd", "memory", "1", mask="host:store1")]) == {}


def test_a_value_that_the_monitors_write_in_another_way_is_no_change(config: ModuleType) -> None:
    before = {"osd": {"memory": "4294967296"}}
    assert config.changed_sections(before, {"osd": {"memory": "4294967296"}}) == []
    assert config.changed_sections(before, {"osd": {"memory": "1"}, "mon": {"a": "b"}}) == ["mon", "osd"]


def test_monitors_are_named_with_both_protocols(module: Callable[[str, str], ModuleType]) -> None:
    store = module("ceph_modules", "ceph_mon_store")
    assert store.addresses({"b": "10.0.0.2", "a": "10.0.0.1"}) == [
        "--addv", "a", "[v2:10.0.0.1:3300,v1:10.0.0.1:6789]",
        "--addv", "b", "[v2:10.0.0.2:3300,v1:10.0.0.2:6789]",
    ]  # fmt: skip


def test_the_first_failure_ends_a_row_of_commands_and_is_named(module: Callable[[str, str], ModuleType]) -> None:
    module("ceph_modules", "ceph_auth")
    cli = importlib.import_module("ansible.module_utils.ceph_cli")
    answer = '[[0, "done", ""], [-22, "", "pool size is bound"]]'
    cluster = cli.Cluster(lambda _command, data: (0 if data else 1, answer, ""))
    with pytest.raises(cli.CephError, match=r"osd pool set data.*-22: pool size is bound"):
        cluster.tell([{"prefix": "osd pool create", "pool": "data"}, {"prefix": "osd pool set", "pool": "data"}, {}])


def test_a_request_is_signed_as_the_gateway_expects(module: Callable[[str, str], ModuleType]) -> None:
    """The chain of HMACs against the value that AWS documents for it (General Reference, signature version 4)."""
    module("ceph_s3_users", "ceph_s3_users")
    s3 = importlib.import_module("ansible.module_utils.s3_request")
    moment = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
    headers = s3.signed_headers("PUT", "h:1", "/b", "AKIDEXAMPLE", "secret", moment)
    assert headers["x-amz-date"] == "20130524T000000Z"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20130524/us-east-1/s3/")
    # From "Example: GET Object" of the S3 documentation: its string to sign and its signature.
    to_sign = (
        "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"
        "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972"
    )
    known = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert s3.signature("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", to_sign) == known


def test_a_user_without_keys_is_reported_with_the_way_out(module: Callable[[str, str], ModuleType]) -> None:
    users = module("ceph_s3_users", "ceph_s3_users")
    keys = [{"user": "alice:sub", "access_key": "x", "secret_key": "y"}]
    assert users.first_key({"user_id": "alice", "keys": [{**keys[0], "user": "alice"}]}) == ("x", "y")
    with pytest.raises(users.CephError, match="key create --uid alice"):
        users.first_key({"user_id": "alice", "keys": keys})


def test_a_draft_that_its_program_refuses_leaves_the_old_file(
    module: Callable[[str, str], ModuleType], tmp_path: Path
) -> None:
    files = module("ceph_modules", "place_files")

    class StopError(Exception):
        pass

    class Judge:
        """Stands where Ansible stands: runs nothing, refuses everything, ends by an exception."""

        def run_command(self, command: list[str]) -> tuple[int, str, str]:
            return 1, "", f"refused: {command[0]}"

        def fail_json(self, msg: str) -> None:
            raise StopError(msg)

    good, bad = tmp_path / "new" / "good", tmp_path / "bad"
    bad.write_text("old")
    me = {"owner": bad.owner(), "group": bad.group()}
    stale = [
        files.File({"path": str(good), "content": "1", **me}),
        files.File({"path": str(bad), "content": "2", "validate": ["check", "%s"], **me}),
    ]
    with pytest.raises(StopError, match="bad: `check %s` refuses it"):
        files.place(Judge(), stale)
    assert bad.read_text() == "old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bad"]
    files.place(Judge(), stale[:1])
    assert good.read_text() == "1"
    assert good.stat().st_mode & 0o7777 == 0o644
