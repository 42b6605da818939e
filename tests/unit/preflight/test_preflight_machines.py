"""What the machines and the cluster that runs say of the inventory: sizes, settings of Ceph, whose cluster it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from site_inventories import Loaded, catalogue, example
from small_site import facts

from appliance.preflight import Facility, Fault, judge

GIB = 2**30
HELP = {
    "osd_max_backfills": {"type": "uint", "min": "1", "max": "64", "default": "1"},
    "osd_op_queue": {"type": "str", "enum_values": ["wpq", "mclock_scheduler"]},
    "osd_memry_target": {"near": ["osd_memory_target"]},
    "mon_clock_drift_allowed": {"type": "float", "default": "0.05"},
    "mon_osd_down_out_interval": {"type": "secs", "default": "600"},
    "bluestore_cache_size": {"type": "size", "default": "0"},
    "osd_scrub_auto_repair": {"type": "bool", "default": "false"},
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(example(tmp_path_factory.mktemp("inventories") / "example").root)


def judged(
    loaded: Loaded, tmp_path: Path, memory: float = 64, ceph: Any = None, time_servers: Any = None, **changes: Any
) -> list[Fault]:
    """Judge the example with ``changes``, on machines with ``memory`` GiB. store1 says the rest."""
    given = tmp_path / "changes.yml"
    given.write_text(yaml.safe_dump(changes))
    hosts = [host.name for host in loaded.manager.get_hosts()]
    live = {
        host: facts(1) | {"memory_bytes": memory * GIB, "machine_id": host, "addresses": {}, "disks": {}, "users": []}
        for host in hosts
    }
    live["store1"] |= {"ceph": ceph, "time_servers": time_servers}
    return judge(Facility.from_request(loaded.request(given, live), catalogue()))


def test_machines_that_hold_what_is_promised_have_no_fault(loaded: Loaded, tmp_path: Path) -> None:
    assert judged(loaded, tmp_path) == []


@pytest.mark.parametrize(
    ("memory", "changes", "variable", "words"),
    [
        (16, {"ceph_osd_memory_target": 16 * GIB}, "ceph_osd_memory_target", "2 OSDs take 32.0 GiB"),
        (8, {"jupyterhub_memory_limit": "6G"}, "ceph_osd_memory_target", "less what node_base_compute_memory_max"),
        (32, {"jupyterhub_memory_limit": "40G"}, "jupyterhub_memory_limit", "at most what the machine has, 32.0 GiB"),
        (32, {"node_base_notebooks_memory_max": "1T"}, "node_base_notebooks_memory_max", "32.0 GiB"),
        (32, {"node_base_compute_researcher_memory_max": "4%"}, "gateway_worker_memory_gib", "would be ended"),
        (
            32,
            {"node_base_storage_memory_min": "9G", "node_base_storage_memory_low": "9G",
             "node_base_compute_memory_max": "30G", "ceph_osd_memory_target": GIB},
            "node_base_storage_memory_min", "together they are more than the machine has",
        ),
    ],
)  # fmt: skip
def test_what_a_machine_cannot_hold_is_a_fault(
    loaded: Loaded, tmp_path: Path, memory: float, changes: dict[str, Any], variable: str, words: str
) -> None:
    found = judged(loaded, tmp_path, memory, **changes)
    assert any(fault.variable == variable and words in fault.fix for fault in found), found


@pytest.mark.parametrize(
    "changes",
    [
        {},  # the hub's own limit of 8 GiB is more than the machine has, and that of all notebooks holds before
        {"node_base_storage_memory_low": "60%", "node_base_storage_memory_min": "55%",
         "node_base_compute_memory_max": "40%"},  # the head has no storage that the guarantee is for
    ],
)  # fmt: skip
def test_what_does_no_harm_on_a_small_machine_is_no_fault(
    loaded: Loaded, tmp_path: Path, changes: dict[str, Any]
) -> None:
    small = {"ceph_osd_memory_target": 939524096, "gateway_worker_memory_gib": 1}
    assert judged(loaded, tmp_path, 6, **small, **changes) == []


@pytest.mark.parametrize(("second", "faults"), [("", 0), ("no answer within 2 s", 2)])
def test_time_servers_are_a_fault_where_none_answers(loaded: Loaded, tmp_path: Path, second: str, faults: int) -> None:
    servers = {"ntp1.example.org": "no answer within 2 s", "ntp2.example.org": second}
    found = judged(loaded, tmp_path, time_servers=servers)
    assert [fault.variable for fault in found] == ["node_base_time_servers"] * faults


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("osd_memry_target", 5, "write osd_memory_target"),
        ("osd_max_backfills", "many", "Ceph takes as uint"),
        ("osd_max_backfills", -1, "Ceph takes as uint"),
        ("osd_max_backfills", 100, "from 1 to 64"),
        ("osd_op_queue", "fifo", "choose one of wpq, mclock_scheduler"),
        ("mon_clock_drift_allowed", "little", "Ceph takes as float"),
        ("mon_osd_down_out_interval", "soon", "Ceph takes as secs"),
        ("osd_scrub_auto_repair", "perhaps", "Ceph takes as bool"),
        ("bluestore_cache_size", "-1G", "Ceph takes as size"),
        ("osd max backfills", "many", "Ceph takes as uint"),
    ],
)
def test_a_setting_that_the_installed_release_does_not_take_is_a_fault(
    loaded: Loaded, tmp_path: Path, option: str, value: object, words: str
) -> None:
    ceph = {"conf_fsid": "", "fsid": "", "settings": HELP}
    (fault,) = judged(loaded, tmp_path, ceph=ceph, ceph_mon_settings={"osd": {option: value}})
    assert (fault.variable, fault.value) == (f"ceph_mon_settings.osd.{option}", str(value))
    assert words in fault.fix


def test_settings_that_it_takes_are_none(loaded: Loaded, tmp_path: Path) -> None:
    right = {
        "osd_max_backfills": "4",
        "osd_op_queue": "wpq",
        "mon_osd_down_out_interval": "10m",
        "bluestore_cache_size": "4GiB",
        "osd_scrub_auto_repair": True,
        "not_asked_about": 1,
    }
    ceph = {"conf_fsid": "", "fsid": "", "settings": HELP}
    assert judged(loaded, tmp_path, ceph=ceph, ceph_mon_settings={"osd": right}) == []


def test_a_setting_of_gateways_is_named_by_its_option(loaded: Loaded, tmp_path: Path) -> None:
    ceph = {"settings": {"rgw_frontend_portt": {"near": ["rgw_frontends"]}}}
    (fault,) = judged(loaded, tmp_path, ceph=ceph, ceph_rgw_settings={"rgw_frontend_portt": 1})
    assert (fault.variable, fault.value) == ("ceph_rgw_settings.rgw_frontend_portt", "1")


@pytest.mark.parametrize("part", ["conf_fsid", "fsid"])
def test_another_cluster_than_the_inventorys_is_a_fault_of_its_machine(
    loaded: Loaded, tmp_path: Path, part: str
) -> None:
    other = "11111111-0000-4000-8000-000000000001"
    (fault,) = judged(loaded, tmp_path, ceph={part: other})
    assert (fault.variable, fault.host) == ("ceph_fsid", "store1")
    assert f"the cluster {other}: use that cluster's inventory" in fault.fix
