"""Values that their roles cannot take are told before anything is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.preflight import Facility, Fault
from appliance.preflight.role_catalogue import RoleCatalogue
from appliance.preflight.rules import Rule
from appliance.preflight.values import CHECKS

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


def test_each_rule_is_of_a_variable_that_a_role_has(catalogue: RoleCatalogue) -> None:
    """A misspelt name there would check nothing."""
    for name, rule in catalogue.rules.items():
        variable, _, key = name.partition(".")
        assert catalogue.plays_of(variable), name
        owners = [options[variable] for options in catalogue.options.values() if variable in options]
        assert not key or any(key in option.options for option in owners), name
        others = {rule.at_most, rule.less_than, rule.one_of} - {""}
        assert others <= catalogue.defaults.keys(), name
    for old, new in catalogue.renamed.items():
        assert not catalogue.known(old)
        assert catalogue.known(new) or new.startswith("ansible_")


@pytest.mark.parametrize("entry", [{"mix": 1}, {"form": "sise"}])
def test_a_rule_that_is_none_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="gateway_workers_max"):
        Rule.of("gateway_workers_max", entry)


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("ceph_s3_users_gib_max", 0, "give a number above 0"),
        ("ceph_s3_users_gib_max", "1T", "give a number above 0"),
        ("ceph_s3_users_objects_max", -1, "give a whole number of at least 1"),
        ("ceph_s3_users_buckets_max", 0, "give a whole number of at least 1"),
        ("gateway_researcher_clusters_max", 0, "give a whole number of at least 1"),
        ("gateway_researcher_workers_max", 1.5, "give a whole number of at least 1"),
        ("gateway_researcher_cores_max", 1, "give a whole number of at least 2"),
        ("gateway_researcher_memory_gib_max", -1, "give a number of at least 1"),
        ("jupyterhub_memory_limit", "8", "such as 2G"),
        ("jupyterhub_temporary_limit", "50%", "such as 2G"),
        ("compute_node_temporary_gib_max", "1G", "give a number above 0"),
        ("node_base_compute_researcher_memory_max", "101%", "such as 30%, or a size, such as 8G"),
        ("node_base_notebooks_researcher_memory_max", "lots", "such as 30%, or a size, such as 8G"),
        ("node_base_notebooks_researcher_tasks_max", 10, "give a whole number of at least 64"),
        ("node_base_compute_tasks_max", True, "give a whole number of at least 1024"),
        ("certificates_renewal_days", 29, "give a whole number of at least 30"),
        ("certificates_days", 30, "give a whole number from 31 to 825"),
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
