"""What an inventory alone can be wrong about."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from appliance.preflight import Facility, Fault
from appliance.preflight.role_catalogue import RoleCatalogue

Request = dict[str, Any]
Judged = Callable[[Request], list[Fault]]


def test_a_sound_inventory_has_no_faults(request_: Request, judged: Judged) -> None:
    assert judged(request_) == []


def test_all_faults_of_the_worst_inventory_come_at_once(request_: Request, judged: Judged) -> None:
    """Two storage hosts, a name that is no host name, a disk with data, a taken uid, a missing variable."""
    for group in ("all", "ceph_mon", "ceph_osd", "ceph_mgr", "ceph_rgw", "compute_node"):
        request_["groups"][group] = [
            {"store2": "store_2"}.get(h, h) for h in request_["groups"][group] if h != "store3"
        ]
    for part in ("names", "hostvars", "live"):
        request_[part].pop("store3")
        request_[part]["store_2"] = request_[part].pop("store2")
    request_["live"]["store1"]["disks"]["/dev/disk/by-id/disk2"]["reason"] = "holds ext4"
    request_["live"]["head1"]["users"][0]["name_of_uid"] = "mallory"
    request_["names"]["head1"].remove("jupyterhub_cookie_secret")
    found = {(fault.variable, fault.host) for fault in judged(request_)}
    assert {
        ("groups.ceph_osd", ""),
        ("groups.ceph_mon", ""),
        ("inventory_hostname", "store_2"),
        ("ceph_osd_devices", "store1"),
        ("accounts_users.uid", "head1"),
        ("jupyterhub_cookie_secret", "head1"),
        ("ceph_rgw_data_size", ""),
    } == found


@pytest.mark.parametrize("name", ["store_1", "-store", "store-", "Store1", "x" * 64, "store.site", "localhost", "é"])
def test_a_name_that_is_no_host_name_is_a_fault(request_: Request, judged: Judged, name: str) -> None:
    request_["groups"]["all"].append(name)
    assert ("inventory_hostname", name) in {(fault.variable, fault.value) for fault in judged(request_)}


def test_an_even_number_of_monitors_is_a_fault(request_: Request, judged: Judged) -> None:
    request_["groups"]["ceph_mon"] = ["head1", *request_["groups"]["ceph_mon"]]
    assert [fault.variable for fault in judged(request_)] == ["groups.ceph_mon"]


def test_a_misspelt_group_is_named_with_what_was_meant(request_: Request, judged: Judged) -> None:
    request_["groups"]["jupyter_hub"] = ["head1"]
    request_["groups"]["row-7"] = ["head1"]
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("group", "jupyter_hub")
    assert "'jupyterhub'" in fault.fix


def test_a_role_without_a_machine_is_a_fault(request_: Request, judged: Judged) -> None:
    request_["groups"].pop("placement")
    request_["groups"]["gateway"] = ["head1", "store1"]
    request_["groups"]["ceph_mgr"] = []
    assert {fault.variable for fault in judged(request_)} == {"groups.placement", "groups.gateway", "groups.ceph_mgr"}


def test_a_gateway_without_the_hub_on_its_machine_is_a_fault(request_: Request, judged: Judged) -> None:
    request_["groups"]["gateway"] = ["store1"]
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("groups.gateway", "store1")
    assert "put head1, the machine of group jupyterhub, into it" in fault.fix


@pytest.mark.parametrize(("members", "value"), [([], "no host"), (["head1"], "head1")])
def test_a_placement_service_on_fewer_than_two_machines_is_a_fault(
    request_: Request, judged: Judged, members: list[str], value: str
) -> None:
    request_["groups"]["placement"] = members
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("groups.placement", value)
    assert "the machines of ceph_mon" in fault.fix


def test_a_pattern_may_leave_a_group_out(request_: Request, catalogue: RoleCatalogue) -> None:
    facility = Facility.from_request(request_, catalogue)
    assert facility.members("all:!ceph_osd") == ["head1"]
    assert facility.members("!head1:all") == ["store1", "store2", "store3"]


def test_two_machines_with_one_address_are_a_fault(request_: Request, judged: Judged) -> None:
    request_["hostvars"]["store1"]["machine_address"] = "10.0.0.3"
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("machine_address", "10.0.0.3 for store1, store2")


@pytest.mark.parametrize("address", ["store1", "10.0.0.300", "127.0.0.1", "0.0.0.0", "fd00::3"])  # noqa: S104
def test_an_address_that_others_cannot_reach_is_a_fault(request_: Request, judged: Judged, address: str) -> None:
    request_["hostvars"]["store1"]["machine_address"] = address
    assert [(fault.variable, fault.host) for fault in judged(request_)] == [("machine_address", "store1")]


@pytest.mark.parametrize(
    "devices", [[], "/dev/disk/by-id/a", ["/dev/sda"], ["/dev/disk/by-id/../../sda"], ["/dev/disk/by-id/a"] * 2, [3]]
)
def test_a_disk_without_a_stable_name_of_its_own_is_a_fault(request_: Request, judged: Judged, devices: Any) -> None:
    request_["hostvars"]["store1"]["ceph_osd_devices"] = devices
    assert {(fault.variable, fault.host) for fault in judged(request_)} == {("ceph_osd_devices", "store1")}


@pytest.mark.parametrize(("size", "sound"), [(1, False), (2, True), (3, True), (4, False), ("many", False)])
def test_copies_fit_the_hosts(request_: Request, judged: Judged, size: object, sound: bool) -> None:
    for values in request_["hostvars"].values():
        values["ceph_rgw_data_size"] = size
    assert {fault.variable for fault in judged(request_)} == (set() if sound else {"ceph_rgw_data_size"})


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"name": "Alice"}, "accounts_users[0].name"),
        ({"name": "al"}, "accounts_users[0].name"),
        ({"name": "al_ice"}, "accounts_users[0].name"),
        ({"name": "7alice"}, "accounts_users[0].name"),
        ({"name": "a" * 33}, "accounts_users[0].name"),
        ({"name": None}, "accounts_users[0].name"),
        ({"name": "root"}, "accounts_users[0].name"),
        ({"name": "appliance-catalogue"}, "accounts_users[0].name"),
        ({"name": "appliance-placement"}, "accounts_users[0].name"),
        ({"uid": 1999}, "accounts_users[0].uid"),
        ({"uid": 60000}, "accounts_users[0].uid"),
        ({"uid": "2001"}, "accounts_users[0].uid"),
        ({"uid": True}, "accounts_users[0].uid"),
        ({"uid": None}, "accounts_users[0].uid"),
        ({"groups": ["climate", "weather"]}, "accounts_users[0].groups"),
        ({"groups": "climate"}, "accounts_users[0].groups"),
    ],
)
def test_a_researcher_who_cannot_be_one_is_a_fault(
    request_: Request, judged: Judged, changes: dict[str, object], variable: str
) -> None:
    user = {**request_["hostvars"]["head1"]["accounts_users"][0], **changes}
    for values in request_["hostvars"].values():
        values["accounts_users"] = [user]
    request_["password_names"] = [user["name"]]
    assert {fault.variable for fault in judged(request_)} == {variable}


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"state": "gone"}, "accounts_users[0].state"),
        ({"state": "absent"}, "accounts_users[0].state"),
        ({"state": "absent", "hand_over_to": "bob", "archive": "/srv/archive"}, "accounts_users[0].state"),
        ({"state": "absent", "hand_over_to": "nobody-we-know"}, "accounts_users[0].hand_over_to"),
        ({"state": "absent", "hand_over_to": "alice"}, "accounts_users[0].hand_over_to"),
        ({"state": "absent", "hand_over_to": "carol"}, "accounts_users[0].hand_over_to"),
        ({"state": "absent", "archive": "srv/archive"}, "accounts_users[0].archive"),
        ({"state": "absent", "archive": "/"}, "accounts_users[0].archive"),
        ({"state": "absent", "archive": "/srv/../home"}, "accounts_users[0].archive"),
        ({"state": "locked", "hand_over_to": "bob"}, "accounts_users[0].hand_over_to"),
        ({"archive": "/srv/archive"}, "accounts_users[0].archive"),
    ],
)
def test_a_state_that_cannot_be_kept_is_a_fault(
    request_: Request, judged: Judged, changes: dict[str, object], variable: str
) -> None:
    alice = request_["hostvars"]["head1"]["accounts_users"][0]
    others = [{"name": "bob", "uid": 2002}, {"name": "carol", "uid": 2003, "state": "locked"}]
    for values in request_["hostvars"].values():
        values["accounts_users"] = [{**alice, **changes}, *others]
    request_["password_names"] = ["alice", "bob"]
    (fault,) = judged(request_)
    assert fault.variable == variable
    assert fault.fix


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "present"},
        {"state": "locked"},
        {"state": "absent", "hand_over_to": "bob"},
        {"state": "absent", "archive": "/srv/archive"},
    ],
)
def test_who_is_locked_or_leaves_needs_no_password(
    request_: Request, judged: Judged, changes: dict[str, object]
) -> None:
    alice = request_["hostvars"]["head1"]["accounts_users"][0]
    for values in request_["hostvars"].values():
        values["accounts_users"] = [{**alice, **changes}, {"name": "bob", "uid": 2002}]
    request_["password_names"] = ["bob"] if changes["state"] != "present" else ["alice", "bob"]
    assert judged(request_) == []


@pytest.mark.parametrize(
    ("pattern", "variable"), [("[a-z", "accounts_name_pattern"), ("b.*", "accounts_users[0].name")]
)
def test_names_are_judged_by_the_sites_pattern(request_: Request, judged: Judged, pattern: str, variable: str) -> None:
    for values in request_["hostvars"].values():
        values["accounts_name_pattern"] = pattern
    assert {fault.variable for fault in judged(request_)} == {variable}


@pytest.mark.parametrize(
    ("groups", "variable"),
    [
        ("climate", "accounts_groups"),
        ([{"name": "cli mate", "gid": 3001}], "accounts_groups[0].name"),
        ([{"name": "daemon", "gid": 3001}], "accounts_groups[0].name"),
        ([{"name": "climate", "gid": 100}], "accounts_groups[0].gid"),
        ([{"name": "climate"}], "accounts_groups[0].gid"),
        ([{"name": "climate", "gid": 3001}, {"name": "ocean", "gid": 3001}], "accounts_groups.gid"),
        ([{"name": "climate", "gid": 3001}, {"name": "climate", "gid": 3002}], "accounts_groups.name"),
    ],
)
def test_a_group_that_cannot_be_one_is_a_fault(
    request_: Request, judged: Judged, groups: object, variable: str
) -> None:
    for values in request_["hostvars"].values():
        values["accounts_groups"] = groups
        values["accounts_users"][0]["groups"] = []
    assert variable in {fault.variable for fault in judged(request_)}


def test_uids_and_names_that_two_share_are_faults(request_: Request, judged: Judged) -> None:
    alice = request_["hostvars"]["head1"]["accounts_users"][0]
    for values in request_["hostvars"].values():
        values["accounts_users"] = [alice, {"name": "bob", "uid": 2001}, {"name": "alice", "uid": 2003}]
    assert {(fault.variable, fault.value) for fault in judged(request_)} == {
        ("accounts_users.uid", "2001 for alice, bob"),
        ("accounts_users.name", "alice, 2 times"),
        ("accounts_passwords.bob", "(missing)"),
    }


@pytest.mark.parametrize("users", ["alice", ["alice"], {"alice": 2001}])
def test_a_list_of_researchers_that_is_none_is_one_fault(request_: Request, judged: Judged, users: object) -> None:
    for values in request_["hostvars"].values():
        values["accounts_users"] = users
    assert "accounts_users" in {fault.variable for fault in judged(request_)}


def test_what_a_role_requires_is_asked_of_the_machines_that_it_runs_on(request_: Request, judged: Judged) -> None:
    for host in ("head1", "store2"):
        request_["names"][host].remove("ceph_fsid")
        request_["hostvars"][host].pop("ceph_fsid")
    (fault,) = judged(request_)
    assert (fault.variable, fault.value, fault.host) == ("ceph_fsid", "(missing)", "store2")
    assert fault.fix == "set it: The cluster's id"


def test_what_a_default_refers_to_is_asked_of_the_inventory(request_: Request, judged: Judged) -> None:
    for host in ("head1", "store2"):
        request_["names"][host].remove("site")
    (fault,) = judged(request_)
    assert (fault.variable, fault.value, fault.host) == ("site", "(missing)", "store2")
    assert "ceph_osd_region" in fault.fix


def test_a_roles_own_variable_set_in_the_inventory_needs_no_other(request_: Request, judged: Judged) -> None:
    request_["names"]["store2"].remove("site")
    request_["names"]["store2"].append("ceph_osd_region")
    assert judged(request_) == []


def test_a_value_made_of_an_undefined_variable_is_a_fault(request_: Request, judged: Judged) -> None:
    request_["hostvars"]["store2"].pop("machine_address")
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("machine_address", "(refers to an undefined variable)")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("jupyterhub_log", "loud"),
        ("jupyterhub_tasks", "http"),
        ("jupyterhub_log", ["info"]),
        ("jupyterhub_debug", "perhaps"),
        ("jupyterhub_settings", "none"),
        ("jupyterhub_log", {"info": 1}),
    ],
)
def test_a_value_outside_the_roles_choice_or_type_is_a_fault(
    request_: Request, judged: Judged, variable: str, value: object
) -> None:
    request_["hostvars"]["head1"][variable] = value
    assert [(fault.variable, fault.host) for fault in judged(request_)] == [(variable, "head1")]


def test_judging_changes_nothing_in_the_request(request_: Request, judged: Judged) -> None:
    before = copy.deepcopy(request_)
    judged(request_)
    assert request_ == before
