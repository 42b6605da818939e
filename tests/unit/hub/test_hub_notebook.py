"""Whose server is started, what it may touch, and what it is told."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

import pytest
from hub_example import hub_settings

from appliance.hub.notebook import PORT, SpawnRefused, notebook_environment, require, researcher, unit_properties
from appliance.researcher.sandbox import SANDBOX

SETTINGS = hub_settings()
NOBODY = pwd.getpwnam("nobody")  # a user that every Debian machine has; here it plays a researcher
ALICE = pwd.struct_passwd(("alice", "x", 2001, 2001, "", "/home/alice", "/bin/bash"))
KEYS = Path("/etc/appliance/s3/alice")


def test_a_name_without_an_account_is_refused() -> None:
    with pytest.raises(SpawnRefused, match="'nobody-of-that-name' does not exist"):
        researcher("nobody-of-that-name", SETTINGS)


@pytest.mark.parametrize("limits", [{"uid_max": NOBODY.pw_uid - 1}, {"uid_max": 70000, "uid_min": NOBODY.pw_uid + 1}])
def test_an_account_of_the_machine_is_refused_even_as_a_member(limits: dict[str, int]) -> None:
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    with pytest.raises(SpawnRefused, match=f"'nobody' has uid {NOBODY.pw_uid} .*researchers have uids from"):
        researcher("nobody", hub_settings(researchers_group=group, **limits))


def test_an_account_outside_the_group_is_refused_with_the_group_named() -> None:
    with pytest.raises(SpawnRefused, match="not a member of the group root"):
        researcher("nobody", hub_settings(researchers_group="root", uid_max=NOBODY.pw_uid))


def test_a_missing_group_is_refused() -> None:
    with pytest.raises(SpawnRefused, match="no-such-group"):
        researcher("nobody", hub_settings(researchers_group="no-such-group", uid_max=NOBODY.pw_uid))


def test_a_member_is_taken() -> None:
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    assert researcher("nobody", hub_settings(researchers_group=group, uid_max=NOBODY.pw_uid)) == NOBODY


def test_the_reason_is_what_the_page_shows() -> None:
    assert SpawnRefused("no room").jupyterhub_message == "no room"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    require(tmp_path, "a folder")
    with pytest.raises(SpawnRefused, match="alice: the S3 keys of alice is missing"):
        require(tmp_path / "alice", "the S3 keys of alice")


def test_a_server_sees_its_own_home_only_and_gets_its_own_keys(tmp_path: Path) -> None:
    properties = unit_properties(ALICE, tmp_path, KEYS, SETTINGS)
    assert properties["LoadCredential"] == "s3:/etc/appliance/s3/alice"
    assert properties["ProtectHome"] == "tmpfs"
    assert properties["BindPaths"] == "/home/alice"
    assert {name: properties.get(name) for name in SANDBOX} == SANDBOX
    assert properties["TasksMax"] == "4096"


def test_examples_are_copied_by_the_researcher_and_never_over_their_own(tmp_path: Path) -> None:
    assert not any("cp" in command for command in unit_properties(ALICE, tmp_path, KEYS, SETTINGS)["ExecStartPre"])
    examples = tmp_path / "lib/python3.13/site-packages/appliance/demo/examples"
    examples.mkdir(parents=True)
    command = unit_properties(ALICE, tmp_path, KEYS, SETTINGS)["ExecStartPre"][1]
    # "-": a copy that fails (a full home) does not keep the server from starting; no "+": it runs as the researcher.
    assert command.startswith("-/usr/bin/cp ")
    assert "--update=none" in command.split()
    assert command.split()[-2:] == [str(examples), "/home/alice/examples"]


def test_the_servers_port_is_its_owners_and_stays_so_for_a_while(tmp_path: Path) -> None:
    """The sets are those of the role's rules; the spawner puts the port in, and nft is not the researcher's to run."""
    rules = (Path(__file__).parents[3] / "roles/own_listeners/templates/listeners.nft.j2").read_text(encoding="utf-8")
    properties = unit_properties(ALICE, tmp_path, KEYS, SETTINGS)
    started, ended = properties["ExecStartPre"][0], properties["ExecStopPost"][0]
    for command in (started, ended):
        assert command.startswith("-+/usr/sbin/nft '")
        for name in ("server_ports", "servers"):
            assert f"add element inet appliance_listeners {name} {{ {PORT}" in command
            assert f"set {name} {{" in rules
        assert f"{PORT} . 2001" in command
    assert "table inet appliance_listeners {" in rules
    assert ("timeout" in started, "timeout" in ended) == (False, True)


def test_a_notebook_is_told_where_things_are_and_no_secret() -> None:
    environment = notebook_environment("alice", "jupyter-alice-singleuser", Path("/nix/store/x-analysis"), SETTINGS)
    assert environment["APPLIANCE_ENVIRONMENT"] == "/nix/store/x-analysis"
    assert environment["DASK_GATEWAY__CLUSTER__OPTIONS__ENVIRONMENT"] == "/nix/store/x-analysis"
    assert environment["AWS_SHARED_CREDENTIALS_FILE"] == "/run/credentials/jupyter-alice-singleuser.service/s3"
    assert environment["DASK_GATEWAY__ADDRESS"] == "http://127.0.0.1:8003/services/dask-gateway"
    assert environment["DASK_GATEWAY__PUBLIC_ADDRESS"] == "/user/alice/proxy"
    assert not [name for name in environment if "KEY" in name or "TOKEN" in name or "SECRET" in name]
