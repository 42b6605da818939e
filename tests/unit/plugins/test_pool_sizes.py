"""Placement groups for a pool, and what is done to pools that are there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ceph_pools


@pytest.mark.parametrize(
    ("osds", "size", "share", "fitting"),
    [
        (3, 2, 0.8, 128),  # the rack: 120
        (3, 3, 0.1, 8),  # 10, and never less than 8
        (3, 3, 0, 8),
        (12, 3, 0.8, 256),  # 320
        (240, 3, 0.8, 8192),  # 6400
        (1, 1, 1, 128),
    ],
)
def test_number_follows_the_calculator(osds: int, size: int, share: float, fitting: int) -> None:
    assert ceph_pools.pg_num(osds, size, share) == fitting


@given(st.integers(1, 5000), st.integers(1, 6), st.floats(0, 1), st.integers(20, 400))
def test_number_is_a_power_of_two_near_the_aim(osds: int, size: int, share: float, each: int) -> None:
    number = ceph_pools.pg_num(osds, size, share, each)
    assert number >= 8
    assert number & (number - 1) == 0
    ideal = osds * each * share / size
    if ideal > 8:
        assert ideal / 1.5 < number < ideal * 1.5


@pytest.mark.parametrize("wrong", [{"osds": 0}, {"size": 0}, {"share": 1.5}, {"share": -0.1}])
def test_senseless_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        ceph_pools.pg_num(**({"osds": 3, "size": 3, "share": 0.5} | wrong))


def test_a_new_pool_gets_its_copies_at_once() -> None:
    pool = {"name": "data", "size": 2, "min_size": 1, "application": "rgw"}
    create, tag = ceph_pools.creation(pool, 64)
    assert (create["pg_num"], create["size"], create["autoscale_mode"]) == (64, 2, "off")
    assert tag == {"prefix": "osd pool application enable", "pool": "data", "app": "rgw"}


def test_the_least_number_of_copies_is_set_where_it_is_not_cephs_own() -> None:
    pool = {"name": "data", "size": 3, "min_size": 1, "application": "rgw"}
    assert {"prefix": "osd pool set", "pool": "data", "var": "min_size", "val": "1"} in ceph_pools.creation(pool, 64)


def test_a_pool_that_is_there_keeps_its_placement_groups() -> None:
    pool = {"name": "data", "size": "3", "min_size": 2, "application": "rgw", "share": 0.8}
    present = {"pool_name": "data", "size": 2, "min_size": 2, "pg_num": 8, "pg_autoscale_mode": "off"}
    assert ceph_pools.correction(pool, present) == [
        {"prefix": "osd pool set", "pool": "data", "var": "size", "val": "3"},
    ]
    assert ceph_pools.correction(pool, present | {"size": 3}) == []


def test_only_a_number_that_is_far_off_is_worth_a_word() -> None:
    assert [ceph_pools.misfit(present, 64) for present in (8, 16, 32, 64, 128, 256)] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
