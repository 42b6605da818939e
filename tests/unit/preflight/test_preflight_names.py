"""A name of a variable that nobody reads is a fault, and a site's own variables are its own."""

from __future__ import annotations

import re
from pathlib import Path

import ansible
import pytest
from site_inventories import catalogue

from appliance.preflight import Facility
from appliance.preflight.groups import names_of_machines
from appliance.preflight.names import OF_CONNECTIONS, unknown_settings

# What Ansible asks of a machine of Debian with, whichever of them a site chooses.
PLUGINS = [
    "connection/ssh.py",
    "connection/local.py",
    "become/sudo.py",
    "become/su.py",
    "shell/sh.py",
    "doc_fragments/shell_common.py",
    "doc_fragments/connection_pipelining.py",
]


def told(*names: str) -> list[tuple[str, str]]:
    facility = Facility.from_request({"groups": {"all": ["store1"]}, "names": {"store1": names}}, catalogue())
    return [(fault.variable, fault.fix) for fault in unknown_settings(facility)]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("machine_adress", "machine_address"),
        ("account_users", "accounts_users"),
        ("depot_urls", "depot_url"),
        ("ansible_usr", "ansible_user"),
        ("ansible_hots", "ansible_host"),
    ],
)
def test_a_name_like_that_of_a_variable_is_misspelt_where_this_is_not_set(name: str, right: str) -> None:
    ((variable, fix),) = told(name)
    assert (variable, f"write {right}" in fix) == (name, True)
    same_letters = sorted(name) == sorted(right)
    assert [found for found, _ in told(name, right)] == ([name] if same_letters else [])


@pytest.mark.parametrize(("name", "faults"), [("hub", []), ("gateway", ["gateway"])])
def test_a_machine_may_have_the_name_of_a_group_and_not_of_a_role(name: str, faults: list[str]) -> None:
    request = {"groups": {"all": [name], name: [name]}, "names": {name: []}}
    found = list(names_of_machines(Facility.from_request(request, catalogue())))
    assert [fault.value for fault in found] == faults


def test_what_a_release_has_dropped_may_stay() -> None:
    assert "gateway_hub_token" in catalogue().dropped
    assert told(*catalogue().dropped) == []


def test_what_ansibles_own_plugins_read_is_no_fault() -> None:
    plugins = Path(ansible.__file__).parent / "plugins"
    found = {name for file in PLUGINS for name in re.findall(r"name: *(ansible_\w+)", (plugins / file).read_text())}
    assert len(found) > 40
    assert found <= OF_CONNECTIONS
    assert told(*found) == []
