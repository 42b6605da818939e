"""What machines say that an inventory cannot know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.preflight import Fault

Request = dict[str, Any]
Judged = Callable[[Request], list[Fault]]


@pytest.mark.parametrize(
    ("fact", "value", "variable"),
    [
        ("os_version", "12", "operating system"),
        ("os_id", "ubuntu", "operating system"),
        ("machine", "aarch64", "processor"),
        ("systemd", False, "init"),
        ("clock_offset_seconds", 61.0, "clock"),
        ("clock_offset_seconds", -61.0, "clock"),
        ("addresses", {"10.0.0.2": False}, "machine_address"),
        ("urls", [{"variable": "depot_url", "url": "http://10.0.0.1/x", "error": "refused"}], "depot_url"),
        ("time_servers", {"192.0.2.99": "no answer within 2 s"}, "node_base_time_servers"),
        ("packages_missing", ["nosuchpackage"], "node_base_packages"),
        ("ceph", {"conf_fsid": "11111111-0000-4000-8000-000000000001"}, "ceph_fsid"),
        ("ceph", {"conf_fsid": "", "fsid": "11111111-0000-4000-8000-000000000001"}, "ceph_fsid"),
    ],
)
def test_a_machine_that_does_not_fit_is_a_fault(
    request_: Request, judged: Judged, fact: str, value: object, variable: str
) -> None:
    request_["live"]["store1"][fact] = value
    assert [(fault.variable, fault.host) for fault in judged(request_)] == [(variable, "store1")]


def test_too_little_memory_or_room_is_a_fault(request_: Request, judged: Judged) -> None:
    for values in request_["hostvars"].values():
        values |= {"preflight_min_memory_mib": 4096, "preflight_min_free_mib": 4096}
    request_["live"]["store1"] |= {"memory_bytes": 2**30, "free_bytes": 2**30}
    assert [fault.variable for fault in judged(request_)] == ["memory", "disk space of /"]


def test_machines_with_one_identity_are_a_fault(request_: Request, judged: Judged) -> None:
    request_["live"]["store2"]["machine_id"] = request_["live"]["store1"]["machine_id"]
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("machine-id", "id2 on store1, store2")


def test_machines_that_were_not_asked_are_not_judged(request_: Request, judged: Judged) -> None:
    """`--limit` asks some machines only; the inventory is judged as a whole all the same."""
    request_["live"] = {"head1": request_["live"]["head1"]}
    assert judged(request_) == []


@pytest.mark.parametrize(
    ("answer", "variable"),
    [
        ({"failed": "Failed to connect to the host via ssh:\nNo route to host", "rc": 255}, "ansible_host"),
        ({"failed": "non-zero return code", "rc": 127}, "ansible_python_interpreter"),
    ],
)
def test_a_machine_that_does_not_answer_is_one_fault(
    request_: Request, judged: Judged, answer: dict[str, Any], variable: str
) -> None:
    request_["live"]["store1"] = answer
    assert [(fault.variable, fault.host) for fault in judged(request_)] == [(variable, "store1")]


def test_a_disk_that_its_machine_refuses_is_a_fault(request_: Request, judged: Judged) -> None:
    refused = {"state": "occupied", "reason": "holds ext4", "fix": "name an empty disk"}
    request_["live"]["store1"]["disks"]["/dev/disk/by-id/disk2"] = refused
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("ceph_osd_devices", "/dev/disk/by-id/disk2: holds ext4")
    assert (fault.fix, fault.host) == ("name an empty disk", "store1")


@pytest.mark.parametrize("state", ["empty", "finished", "unfinished"])
def test_a_disk_that_its_machine_takes_is_none(request_: Request, judged: Judged, state: str) -> None:
    request_["live"]["store1"]["disks"]["/dev/disk/by-id/disk2"]["state"] = state
    assert judged(request_) == []


def test_an_unstable_name_is_told_once(request_: Request, judged: Judged) -> None:
    request_["hostvars"]["store1"]["ceph_osd_devices"] = ["/dev/sda"]
    unstable = {"state": "unstable", "reason": "is no stable name", "fix": "name it by its id"}
    request_["live"]["store1"]["disks"] = {"/dev/sda": unstable}
    assert [fault.value for fault in judged(request_)] == ["/dev/sda"]


@pytest.mark.parametrize(
    ("seen", "variable"),
    [
        ({"uid_of_name": 1000}, "accounts_users.name"),
        ({"name_of_uid": "mallory"}, "accounts_users.uid"),
        ({"uid_of_name": 2001, "name_of_uid": "alice"}, None),
    ],
)
def test_a_name_or_uid_of_somebody_else_is_a_fault(
    request_: Request, judged: Judged, seen: dict[str, Any], variable: str | None
) -> None:
    request_["live"]["store3"]["users"][0] |= seen
    assert [fault.variable for fault in judged(request_)] == ([variable] if variable else [])


@pytest.mark.parametrize(
    ("seen", "variable"),
    [({"gid_of_name": 50}, "accounts_groups.name"), ({"name_of_gid": "games"}, "accounts_groups.gid")],
)
def test_a_groups_name_or_gid_of_another_is_a_fault(
    request_: Request, judged: Judged, seen: dict[str, Any], variable: str
) -> None:
    request_["live"]["store3"]["groups"][0] |= seen
    assert [(fault.variable, fault.host) for fault in judged(request_)] == [(variable, "store3")]


def test_a_port_that_another_program_holds_is_a_fault(request_: Request, judged: Judged) -> None:
    request_["live"]["head1"]["ports"] = {"8000": ["nginx.service"], "22": ["ssh.service"]}
    (fault,) = judged(request_)
    assert (fault.variable, fault.value) == ("jupyterhub_public_port", "8000, taken by nginx.service")


def test_a_port_that_the_facility_holds_is_none(request_: Request, judged: Judged) -> None:
    request_["live"]["head1"]["ports"] = {"8000": ["jupyterhub-proxy.service"], "7481": ["haproxy.service"]}
    assert judged(request_) == []


def test_a_port_chosen_in_the_inventory_is_the_one_that_is_looked_at(request_: Request, judged: Judged) -> None:
    for values in request_["hostvars"].values():
        values["jupyterhub_public_port"] = 443
    request_["live"]["head1"]["ports"] = {"8000": ["nginx.service"], "443": ["apache2.service"]}
    assert [fault.value for fault in judged(request_)] == ["443, taken by apache2.service"]
