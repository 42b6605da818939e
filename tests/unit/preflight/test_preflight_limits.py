"""Limits that cannot be kept are told before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.preflight import Facility, Fault
from appliance.preflight.limits import CHECKS, NUMBERS, OWN, SHARES, SIZES, WHOLE, WITHIN
from appliance.preflight.role_catalogue import RoleCatalogue

PROJECT = Path(__file__).parents[3]
STORES = ["store1", "store2", "store3"]


@pytest.fixture(scope="module")
def catalogue() -> RoleCatalogue:
    return RoleCatalogue.read(PROJECT)


def told(catalogue: RoleCatalogue, **values: object) -> list[Fault]:
    groups = {"all": ["head1", *STORES], "jupyterhub": ["head1"], "gateway": ["head1"], "compute_node": STORES}
    request = {"groups": groups, "hostvars": dict.fromkeys(groups["all"], values)}
    facility = Facility.from_request(request, catalogue)
    return [fault for check in CHECKS for fault in check(facility)]


def test_the_roles_own_limits_have_no_fault(catalogue: RoleCatalogue) -> None:
    assert told(catalogue) == []


def test_each_limit_is_a_variable_of_a_role(catalogue: RoleCatalogue) -> None:
    """A misspelt name here would check nothing."""
    for name in {*WHOLE, *NUMBERS, *SIZES, *SHARES, *(f"ceph_s3_users_{part[3:]}" for part in OWN)}:
        assert name in catalogue.defaults
        assert catalogue.plays_of(name)
    assert {name for pair in WITHIN for name in pair} <= {*WHOLE, *SIZES, *SHARES}


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("ceph_s3_users_gib_max", 0, "GiB above 0"),
        ("ceph_s3_users_gib_max", "1T", "GiB above 0"),
        ("ceph_s3_users_objects_max", -1, "whole number of at least 1"),
        ("ceph_s3_users_buckets_max", 0, "whole number of at least 1"),
        ("gateway_researcher_clusters_max", 0, "whole number of at least 1"),
        ("gateway_researcher_workers_max", 1.5, "whole number of at least 1"),
        ("gateway_researcher_cores_max", 1, "whole number of at least 2"),
        ("gateway_researcher_memory_gib_max", -1, "GiB above 0"),
        ("jupyterhub_memory_limit", "8", "such as 2G"),
        ("jupyterhub_temporary_limit", "50%", "such as 2G"),
        ("compute_node_temporary_gib_max", "1G", "GiB above 0"),
        ("node_base_compute_researcher_memory_max", "101%", "such as 30%, or a size, such as 8G"),
        ("node_base_notebooks_researcher_memory_max", "lots", "such as 30%, or a size, such as 8G"),
        ("node_base_notebooks_researcher_tasks_max", 10, "whole number of at least 64"),
        ("node_base_compute_tasks_max", True, "whole number of at least 1024"),
        ("certificates_renewal_days", 29, "whole number of at least 30"),
        ("certificates_days", 30, "whole number of at least 31"),
    ],
)
def test_a_limit_that_is_none_is_named_with_the_way_out(
    catalogue: RoleCatalogue, name: str, value: object, fix: str
) -> None:
    found = told(catalogue, **{name: value})
    assert {(fault.variable, fault.value) for fault in found} == {(name, str(value))}
    assert all(fix in fault.fix for fault in found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jupyterhub_temporary_limit", "8G"),
        ("jupyterhub_tasks_limit", 40000),
        ("node_base_notebooks_researcher_memory_max", "60%"),
        ("node_base_compute_researcher_memory_max", "70%"),
        ("node_base_compute_researcher_tasks_max", 32768),
    ],
)
def test_one_researchers_part_is_less_than_that_of_all(catalogue: RoleCatalogue, name: str, value: object) -> None:
    found = told(catalogue, **{name: value})
    assert {fault.variable for fault in found} == {name}
    assert all("one researcher could take all of it" in fault.fix for fault in found)


@pytest.mark.parametrize("days", [47, 60])
def test_certificates_are_not_renewed_by_each_run(catalogue: RoleCatalogue, days: int) -> None:
    found = told(catalogue, certificates_days=days)
    assert {(fault.variable, fault.value) for fault in found} == {("certificates_renewal_days", "60")}
    assert all(f"less than certificates_days = {days}" in fault.fix for fault in found)
    assert told(catalogue, certificates_days=61) == []
    assert told(catalogue, certificates_days=47, certificates_renewal_days=30) == []


def test_what_cannot_be_compared_is_not(catalogue: RoleCatalogue) -> None:
    assert told(catalogue, node_base_notebooks_researcher_memory_max="500G") == []


def test_a_researchers_own_limits_are_judged_too(catalogue: RoleCatalogue) -> None:
    users = [{"name": "alice", "uid": 2001, "s3_gib_max": 0, "s3_objects_max": 5, "s3_buckets_max": "many"}]
    found = {(fault.variable, fault.value) for fault in told(catalogue, accounts_users=users)}
    assert found == {("accounts_users[0].s3_gib_max", "0"), ("accounts_users[0].s3_buckets_max", "many")}
