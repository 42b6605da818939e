"""Whose server is started, what it may touch, and what it is told."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

import pytest
from hub_example import GOOD

from appliance.hub.notebook import SpawnRefused, must_be_there, notebook_environment, researcher, unit_properties
from appliance.hub.settings import HubSettings

SETTINGS = HubSettings.from_mapping(GOOD)
ALICE = pwd.struct_passwd(("alice", "x", 2001, 2001, "", "/home/alice", "/bin/bash"))
KEYS = Path("/etc/appliance/s3/alice")


def test_a_name_without_an_account_is_refused() -> None:
    with pytest.raises(SpawnRefused, match="nobody-of-that-name has no account"):
        researcher("nobody-of-that-name", "root")


def test_a_system_account_is_refused_even_as_a_member() -> None:
    with pytest.raises(SpawnRefused, match=r"root is no researcher's account \(uid 0\)"):
        researcher("root", "root")


def test_an_account_outside_the_group_is_refused_with_the_group_named() -> None:
    with pytest.raises(SpawnRefused, match="not a member of the group root"):
        researcher("nobody", "root")


def test_a_missing_group_is_refused() -> None:
    with pytest.raises(SpawnRefused, match="no-such-group"):
        researcher("nobody", "no-such-group")


def test_a_member_is_taken() -> None:
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    assert researcher("nobody", group).pw_name == "nobody"


def test_the_reason_is_what_the_page_shows() -> None:
    assert SpawnRefused("no room").jupyterhub_message == "no room"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    must_be_there(tmp_path, "a folder")
    with pytest.raises(SpawnRefused, match="alice: the S3 keys of alice is missing"):
        must_be_there(tmp_path / "alice", "the S3 keys of alice")


def test_a_server_sees_its_own_home_only_and_gets_its_own_keys(tmp_path: Path) -> None:
    properties = unit_properties(ALICE, tmp_path, KEYS, SETTINGS)
    assert properties["LoadCredential"] == "s3:/etc/appliance/s3/alice"
    assert properties["ProtectHome"] == "tmpfs"
    assert properties["BindPaths"] == "/home/alice"
    assert properties["ProtectSystem"] == "strict"
    assert properties["PrivateTmp"] == "yes"
    assert properties["TasksMax"] == "4096"


def test_examples_are_copied_by_the_researcher_and_never_over_their_own(tmp_path: Path) -> None:
    assert "ExecStartPre" not in unit_properties(ALICE, tmp_path, KEYS, SETTINGS)
    examples = tmp_path / "lib/python3.13/site-packages/appliance/demo/examples"
    examples.mkdir(parents=True)
    command = unit_properties(ALICE, tmp_path, KEYS, SETTINGS)["ExecStartPre"]
    assert isinstance(command, str)
    # "-": a copy that fails (a full home) does not keep the server from starting; no "+": it runs as the researcher.
    assert command.startswith("-/usr/bin/cp ")
    assert "--update=none" in command.split()
    assert command.split()[-2:] == [str(examples), "/home/alice/examples"]


def test_a_notebook_is_told_where_things_are_and_no_secret() -> None:
    environment = notebook_environment("jupyter-alice-singleuser", Path("/nix/store/x-analysis"), SETTINGS)
    assert environment["APPLIANCE_ENVIRONMENT"] == "/nix/store/x-analysis"
    assert environment["DASK_GATEWAY__CLUSTER__OPTIONS__ENVIRONMENT"] == "/nix/store/x-analysis"
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == "/run/credentials/jupyter-alice-singleuser.service/s3"
    assert environment["DASK_GATEWAY__ADDRESS"] == "http://127.0.0.1:8003/services/dask-gateway"
    assert environment["DASK_GATEWAY__PUBLIC_ADDRESS"] == "/services/dask-gateway"
    assert not [name for name in environment if "KEY" in name or "TOKEN" in name or "SECRET" in name]
