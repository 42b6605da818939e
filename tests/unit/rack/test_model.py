"""What a rack is: names, addresses, the shape's own faults, and its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.rack import lifecycle
from appliance.rack.model import Rack, RackError, existing, load


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_STATE", str(tmp_path))


def test_every_machine_has_an_address_of_its_own_in_the_subnet() -> None:
    rack = Rack(stores=40)
    addresses = {machine.address for machine in rack.machines()} | {rack.gateway}
    assert len(addresses) == 42
    assert all(address.startswith("10.77.0.") for address in addresses)


def test_cards_of_the_longest_names_fit_an_interface_name_and_differ() -> None:
    cards = [machine.card for machine in Rack(name="abcdefgh", stores=40).machines()]
    assert len(set(cards)) == 41
    assert max(map(len, cards)) <= 15


def test_all_faults_of_a_shape_are_told_at_once() -> None:
    faults = Rack(name="Rack 1", subnet="8.8.8.0/24", stores=0, disks=99, disk_gib=0, nic="fast").faults()
    for option in ("--name", "--subnet", "--stores", "--disks", "--disk-size", "--nic"):
        assert any(fault.startswith(option) for fault in faults), option


def test_a_shape_survives_its_record() -> None:
    rack = Rack(name="t9", stores=2, nic="200mbit", ready=True)
    rack.save()
    assert load("t9") == rack


def test_a_rack_that_never_was_is_none_and_an_error_where_it_is_needed() -> None:
    assert load("t9") is None
    with pytest.raises(RackError, match=r"`appliance rack --name t9 up` starts it"):
        existing("t9")


def test_a_truncated_record_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "racks/t9").mkdir(parents=True)
    (tmp_path / "racks/t9/rack.json").write_text('{"name": "t9", "sub')
    with pytest.raises(RackError, match="down"):
        load("t9")


def test_a_name_cannot_leave_the_folder_of_racks() -> None:
    with pytest.raises(RackError, match="--name"):
        load("../../etc")


def test_the_inventory_gives_storage_machines_their_disks_by_stable_id() -> None:
    inventory = lifecycle.inventory(Rack(name="t9", stores=2, disks=2))
    assert inventory["storage"]["hosts"] == ["store1", "store2"]
    assert inventory["monitors"]["hosts"] == ["store1", "store2"]
    assert inventory["_meta"]["hostvars"]["store2"]["ceph_osd_devices"] == [
        "/dev/disk/by-id/t9-store2-disk1",
        "/dev/disk/by-id/t9-store2-disk2",
    ]
    assert "ceph_osd_devices" not in inventory["_meta"]["hostvars"]["head1"]
    json.dumps(inventory)


def test_a_rack_that_grows_keeps_three_monitors() -> None:
    assert lifecycle.inventory(Rack(name="t9", stores=4))["monitors"]["hosts"] == ["store1", "store2", "store3"]


def test_an_unknown_machine_is_told_with_those_that_are_known() -> None:
    with pytest.raises(RackError, match="head1, store1"):
        Rack(stores=1).machine("store9")
