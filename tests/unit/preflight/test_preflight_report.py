"""How faults reach people and programs, and how the roles' own files are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.preflight import Fault
from appliance.preflight.cli import preflight
from appliance.preflight.fault import as_table
from appliance.preflight.role_catalogue import CatalogueError, RoleCatalogue


def run(site: Path, request: object, *options: str) -> tuple[int, str]:
    text = request if isinstance(request, str) else json.dumps(request)
    result = CliRunner().invoke(preflight, ["--project", str(site), *options], input=text)
    return result.exit_code, result.output


def test_nothing_wrong_is_said_and_exits_0(site: Path, request_: dict[str, Any]) -> None:
    assert run(site, request_) == (0, "no faults\n")


def test_a_fault_exits_1_and_the_table_has_variable_value_host_and_fix(site: Path, request_: dict[str, Any]) -> None:
    request_["live"]["store1"]["os_version"] = "12"
    code, output = run(site, request_)
    assert code == 1
    assert output.startswith("1 fault; nothing was changed.\n")
    for word in ("operating system", "debian 12", "store1", "install Debian 13 (trixie)"):
        assert word in output


def test_json_is_one_object_a_line(site: Path, request_: dict[str, Any]) -> None:
    request_["live"]["store1"] |= {"os_version": "12", "systemd": False}
    code, output = run(site, request_, "--json")
    assert code == 1
    assert [json.loads(line)["variable"] for line in output.splitlines()] == ["operating system", "init"]
    assert set(json.loads(output.splitlines()[0])) == {"variable", "value", "fix", "host"}


def test_one_fault_on_many_hosts_is_one_row() -> None:
    table = as_table([Fault("clock", "late", "set it", host) for host in ("store1", "store2")])
    assert table.startswith("1 fault;")
    assert "store1, store2" in table


def test_a_request_that_is_no_json_is_refused_without_a_traceback(site: Path) -> None:
    code, output = run(site, "{")
    assert code == 1
    assert "is no JSON" in output


def test_a_tree_without_a_site_is_named(tmp_path: Path) -> None:
    code, output = run(tmp_path, {})
    assert code == 1
    assert "--project" in output


def test_the_variables_to_read_hold_no_secret(site: Path) -> None:
    code, output = run(site, "", "--variables")
    assert code == 0
    names = json.loads(output)["public"]
    assert {"accounts_users", "site"} <= set(names)
    assert not {"accounts_passwords", "jupyterhub_cookie_secret", "ceph_boot_key"} & set(names)


def test_what_plays_and_tasks_provide_is_known(catalogue: RoleCatalogue) -> None:
    assert {"hub_given", "hub_passed", "hub_path"} <= catalogue.provided
    assert catalogue.defaults["ceph_rgw_data_size"] == 3


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    for name in ("roles/broken/meta", "playbooks"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "site.yml").write_text("[]\n")
    (tmp_path / "roles/broken/meta/argument_specs.yml").write_text("a: b: c\n")
    with pytest.raises(CatalogueError, match=r"broken/meta/argument_specs\.yml"):
        RoleCatalogue.read(tmp_path)
