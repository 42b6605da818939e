"""The inventory that operators copy is sound, as far as an inventory alone can be, and grows as its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from site_inventories import PROJECT, Site, catalogue, example

from appliance.preflight import Facility, judge


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return example(tmp_path / "site")


def test_the_example_inventory_has_no_faults(site: Site) -> None:
    request = site.request()
    assert len(request["hostvars"]) == 7
    assert judge(Facility.from_request(request, catalogue())) == []


def test_a_storage_machine_is_added_by_one_entry(site: Site) -> None:
    hosts = yaml.safe_load((site.root / "hosts.yml").read_text())
    for row, number in (("row1", 7), ("row2", 8)):
        entry = {
            "machine_address": f"10.20.0.3{number}",
            "ceph_osd_devices": [f"/dev/disk/by-id/nvme-EXAMPLE_{number}"],
        }
        hosts["all"]["children"]["storage"]["children"][row]["hosts"][f"store{number}"] = entry
        (site.root / "hosts.yml").write_text(yaml.safe_dump(hosts, sort_keys=False))
        assert site.faults() == []
    request = site.request()
    assert {"store7", "store8"} <= set(request["groups"]["ceph_osd"]) & set(request["groups"]["compute_node"])
    assert len(request["groups"]["ceph_mon"]) == 3


def test_the_racks_own_variables_have_no_faults_but_the_one_that_it_accepts(tmp_path: Path) -> None:
    """Its machines come from a program; the example's stand for them."""
    site = example(tmp_path / "site")
    for name in ("main", "storage", "accounts"):
        text = (PROJECT / f"inventories/rack/group_vars/all/{name}.yml").read_text()
        (site.root / f"group_vars/all/{name}.yml").write_text(text)
    (site.root / "group_vars/all/rack.yml").write_text("rack_name: rack\nrack_gateway: 10.20.0.1\nrack_subnet: x\n")
    assert site.faults() == []
    site.change(remove=["preflight_accepted"])
    assert [fault.variable for fault in site.faults()] == ["ceph_rgw_data_min_size"]
