"""The facility's ports and addresses are those that its inventory says."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.demo.facility import PROJECT, Facility, FacilityError

EXAMPLE = PROJECT / "inventories/example"


def test_facts_are_the_roles_where_the_inventory_says_nothing() -> None:
    facts = Facility("none", EXAMPLE, "").facts
    assert facts["s3_endpoint_url"] == f"http://127.0.0.1:{facts['s3_endpoint_port']}"
    assert facts["gateway_environments"] == [f"{facts['environment_directory']}/analysis"]
    assert [user["name"] for user in facts["accounts_users"]] == ["alice", "bob"]


def test_facts_are_the_inventorys_last_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ports that the rack's tests can be run with."""
    usual = Facility("none", EXAMPLE, "").facts
    monkeypatch.setenv("APPLIANCE_INVENTORY_LAYER", "tests/rack/other_ports.yml")
    other = Facility("none", EXAMPLE).facts
    # Where sshd listens is the machines' own affair, not the rack's inventory's.
    ports = [name for name in usual if name.endswith("_port") and name != "firewall_ssh_port"]
    assert [name for name in ports if other[name] == usual[name]] == []
    assert other["gateway_proxy_address"] == f"gateway://head1:{other['gateway_scheduler_port']}"
    assert len({other[name] for name in ports}) == len(ports)


def test_an_inventory_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: [")
    with pytest.raises(FacilityError, match=r"(?s)ansible-inventory --host head1: .*hosts\.yml"):
        _ = Facility("none", tmp_path, "").facts
