"""What machines must agree on, the ports that must not meet, and settings that nobody has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.preflight import Facility, Fault
from appliance.preflight.role_catalogue import RoleCatalogue

PROJECT = Path(__file__).parents[3]
Request = dict[str, Any]
Judged = Callable[[Request], list[Fault]]


def everywhere(request: Request, **variables: object) -> None:
    """Set variables as group_vars/all does."""
    for values in request["hostvars"].values():
        values.update(variables)


def test_a_value_in_the_group_of_its_role_is_judged_though_other_machines_lack_it(
    request_: Request, judged: Judged
) -> None:
    """As `ceph_rgw_data_size: 7` in group_vars/ceph_rgw, of which the first machine of all knows nothing."""
    for host in request_["groups"]["ceph_rgw"]:
        request_["hostvars"][host]["ceph_rgw_data_size"] = 7
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("ceph_rgw_data_size", "7")
    assert "there are 3 storage hosts" in fault.fix


def test_machines_of_a_group_that_disagree_are_named_with_their_values(request_: Request, judged: Judged) -> None:
    request_["hostvars"]["store2"]["ceph_rgw_data_size"] = 2
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("ceph_rgw_data_size", "3 on store1, store3; 2 on store2")
    assert "group_vars/all" in fault.fix


def test_a_fact_of_the_site_is_the_same_on_all_machines(request_: Request, judged: Judged) -> None:
    request_["hostvars"]["head1"]["s3_endpoint_port"] = 17481
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("s3_endpoint_port", "17481 on head1; 7481 on store1, store2, store3")


def test_the_same_number_as_a_text_is_no_disagreement(request_: Request, judged: Judged) -> None:
    request_["hostvars"]["store2"]["ceph_rgw_data_size"] = "3"
    assert judged(request_) == []


def test_long_values_that_disagree_are_cut(request_: Request, judged: Judged) -> None:
    many = [{"name": f"group{number}", "gid": 3001 + number} for number in range(9)]
    request_["hostvars"]["store3"]["accounts_groups"] = many
    (fault,) = judged(request_)
    assert fault.variable == "accounts_groups"
    assert "… on store3" in fault.value


def test_two_ports_that_meet_on_a_machine_are_named_with_it(request_: Request, judged: Judged) -> None:
    everywhere(request_, jupyterhub_hub_port=8000)
    (fault,) = judged(request_)
    assert (fault.variable, fault.value, fault.host) == (
        "jupyterhub_public_port, jupyterhub_hub_port", "8000 for each of them", "head1",
    )  # fmt: skip


def test_a_port_that_meets_another_role_s_is_named_on_each_machine_where_it_does(
    request_: Request, judged: Judged
) -> None:
    everywhere(request_, s3_endpoint_port="8081")
    faults = [(fault.variable, fault.host) for fault in judged(request_)]
    assert faults == [("jupyterhub_hub_port, s3_endpoint_port", "head1")]


@pytest.mark.parametrize("port", [0, 32768, 65536, -7481])
def test_a_number_that_is_no_port_is_a_fault(request_: Request, judged: Judged, port: int) -> None:
    everywhere(request_, jupyterhub_hub_port=port)
    (fault,) = judged(request_)
    assert (fault.variable, fault.value, fault.host) == ("jupyterhub_hub_port", str(port), "head1")


def test_a_port_that_is_no_number_is_one_fault_a_machine(request_: Request, judged: Judged) -> None:
    everywhere(request_, jupyterhub_hub_port="http")
    assert {(fault.variable, fault.fix) for fault in judged(request_)} == {
        ("jupyterhub_hub_port", "give a value of type int")
    }


@pytest.mark.parametrize(
    ("set_", "variable", "value"),
    [
        ({"s3_endpoint_port": 6900}, "s3_endpoint_port, ceph_osd_port_min", "6900 is in 6800 to 7299"),
        ({"ceph_osd_port_min": 3000}, "port 3300, ceph_osd_port_min", "3300 is in 3000 to 7299"),
        ({"s3_endpoint_port": 3300}, "s3_endpoint_port, port 3300", "3300 for each of them"),
        ({"ceph_osd_port_max": 6799}, "ceph_osd_port_max", "6799"),
        ({"ceph_osd_port_min": 0}, "ceph_osd_port_min", "0"),
        ({"compute_node_port_max": 32768}, "compute_node_port_max", "32768"),
        ({"compute_node_port_max": 20001}, "compute_node_port_max", "20001"),
        ({"compute_node_port_min": 8081}, "compute_node_port_min", "8081"),
    ],
)
def test_a_range_that_meets_a_port_or_is_none_is_a_fault(
    request_: Request, judged: Judged, set_: dict[str, int], variable: str, value: str
) -> None:
    everywhere(request_, **set_)
    assert (variable, value) in {(fault.variable, fault.value) for fault in judged(request_)}


def test_ranges_that_meet_are_a_fault(request_: Request, judged: Judged) -> None:
    everywhere(request_, ceph_osd_port_max=20500)
    found = {(fault.variable, fault.value) for fault in judged(request_)}
    assert ("ceph_osd_port_min, compute_node_port_min", "6800 to 20500 and 20000 to 24999") in found


def test_workers_ports_are_above_those_that_a_site_has_closed(request_: Request, judged: Judged) -> None:
    everywhere(request_, closed_ports_first_open=21000)
    (fault,) = {(fault.variable, fault.fix[:10]) for fault in judged(request_) if fault.value == "20000"}
    assert fault == ("compute_node_port_min", "give 21000")


def test_limits_of_uids_are_the_sites(request_: Request, judged: Judged) -> None:
    everywhere(request_, accounts_uid_min=2002)
    assert {fault.variable for fault in judged(request_)} == {"accounts_users[0].uid"}
    everywhere(request_, accounts_uid_min="many")
    assert {fault.variable for fault in judged(request_)} == {"accounts_uid_min"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("jupyterhub_public_prot", "write jupyterhub_public_port"), ("ceph_osd_x", "roles/ceph_osd/README.md")],
)
def test_a_setting_that_no_role_has_is_a_fault_with_what_was_meant(
    request_: Request, judged: Judged, name: str, meant: str
) -> None:
    request_["names"]["store1"].append(name)
    (fault,) = judged(request_)
    assert (fault.variable, fault.value, fault.host) == (name, "(unknown)", "store1")
    assert meant in fault.fix


def test_every_port_of_the_roles_is_known_to_the_checks() -> None:
    """A new role's port is a fact of the site with a listener, or the preflight would not look at it."""
    catalogue = RoleCatalogue.read(PROJECT)
    documented = {name for options in catalogue.options.values() for name in options if name.endswith("_port")}
    documented -= {"jupyterhub_ldap_port"}  # of a machine of the site's, which is none of the facility's
    listeners = [listener.variable for listener in catalogue.listeners]
    assert documented == {name for name in listeners if name.endswith("_port")}
    assert {listener.group for listener in catalogue.listeners} <= catalogue.roles | {"all"}


def test_a_variable_belongs_to_the_machines_of_the_roles_that_have_it(
    request_: Request, catalogue: RoleCatalogue
) -> None:
    facility = Facility.from_request(request_, catalogue)
    assert facility.hosts_of("ceph_rgw_data_size") == ["store1", "store2", "store3"]
    assert facility.hosts_of("jupyterhub_tasks") == ["head1"]
    assert facility.hosts_of("s3_endpoint_port") == ["head1", "store1", "store2", "store3"]
    assert facility.hosts_of("nobodys") == []


def test_a_role_that_a_task_includes_is_asked_for_what_it_needs() -> None:
    catalogue = RoleCatalogue.read(PROJECT)
    assert [play.role for play in catalogue.plays_of("certificates_ca_key")] == ["certificates"]
    # What the task gives is nobody's to set.
    assert "ceph_client_entities" in catalogue.provided
    assert "certificates_ca_key" not in catalogue.provided


@pytest.mark.parametrize(
    ("name", "faults"), [("jupyterhub_gateway_token", []), ("jupyterhub_gateway_key", ["(unknown)"])]
)
def test_what_a_release_has_dropped_may_stay(name: str, faults: list[str], request_: Request, judged: Judged) -> None:
    request_["names"]["store1"].append(name)
    assert [fault.value for fault in judged(request_)] == faults


def test_vaults_of_the_first_release_may_stay() -> None:
    assert RoleCatalogue.read(PROJECT).known("gateway_hub_token")
