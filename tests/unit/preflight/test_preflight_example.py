"""The inventory that operators copy is sound, as far as an inventory alone can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.inventory_secrets import completed
from appliance.preflight import Facility, judge
from appliance.preflight.role_catalogue import RoleCatalogue

PROJECT = Path(__file__).parents[3]
# What `appliance secrets` adds, and what of it the preflight may see.
SECRETS = completed({}, ["alice", "bob"])
PUBLIC = {name: SECRETS[name] for name in ("ceph_fsid", "certificates_ca_certificate")}


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, object]]:
    command = [Path(sys.executable).with_name("ansible-inventory"), "-i", "inventories/example", "--list"]
    environment = {**os.environ, "ANSIBLE_CONFIG": "ansible.cfg"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found


def members(listed: dict[str, dict[str, object]], group: str) -> list[str]:
    entry = listed.get(group, {})
    found = list(entry.get("hosts", []))  # type: ignore[call-overload]
    for child in entry.get("children", []):  # type: ignore[attr-defined]
        found += members(listed, child)
    return list(dict.fromkeys(found))


def test_the_example_inventory_has_no_faults(listed: dict[str, dict[str, object]]) -> None:
    hostvars = listed["_meta"]["hostvars"]
    assert isinstance(hostvars, dict)
    assert len(hostvars) == 7
    request = {
        "groups": {group: members(listed, group) for group in (*listed, "all") if group != "_meta"},
        "names": {host: [*values, *SECRETS] for host, values in hostvars.items()},
        "hostvars": {host: {**values, **PUBLIC} for host, values in hostvars.items()},
        "password_names": ["alice", "bob"],
    }
    assert judge(Facility.from_request(request, RoleCatalogue.read(PROJECT))) == []
