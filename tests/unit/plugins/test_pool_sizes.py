"""Placement groups for a pool, and what is done to pools that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ceph_pools
from appliance.placement.model.rjenkins import hash_names, stable_mod

PROJECT = Path(__file__).parents[3]


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


class Asked:
    """A module's parameters, and the commands that it would give."""

    check_mode = False

    def __init__(self, present: list[dict[str, object]], **pool: object):
        self.params = {
            "pools": [{"size": 3, "min_size": 2, "application": "rgw", **pool}],
            "osds": 3,
            "pgs_per_osd": 100,
        }
        self.present = present
        self.told: list[dict[str, object]] = []

    def ask(self, *_words: str, **_options: str) -> list[dict[str, object]]:
        return self.present

    def tell(self, commands: list[dict[str, object]]) -> None:
        self.told += commands


def test_a_pool_may_need_more_than_the_least_number() -> None:
    asked = Asked([], name="control", pgs_min=16)
    assert ceph_pools.make_pools(asked, asked) == (["control"], [])
    assert asked.told[0]["pg_num"] == 16


@pytest.mark.parametrize(("number", "told_of"), [(8, 1), (16, 0), (32, 0)])
def test_one_that_is_there_with_fewer_is_told_with_the_command(number: int, told_of: int) -> None:
    present = {"pool_name": "control", "size": 3, "min_size": 2, "pg_num": number, "pg_autoscale_mode": "off"}
    asked = Asked([present], name="control", pgs_min=16)
    touched, misfits = ceph_pools.make_pools(asked, asked)
    assert touched == asked.told == []
    assert [words.endswith("ceph osd pool set control pg_num 16") for words in misfits] == [True] * told_of


def test_each_object_that_gateways_tell_changes_by_has_a_placement_group_of_its_own() -> None:
    """A replica knows that all copies have an object's last write when another of its placement group was written."""
    said = (PROJECT / "roles/ceph_rgw/vars/main.yml").read_text()
    (number,) = map(int, re.findall(r"default\.rgw\.control'.*'pgs_min': (\d+)", said))
    hashes = hash_names([f"notify.{each}" for each in range(8)])  # rgw_num_control_oids
    assert len(set(stable_mod(hashes, number).tolist())) == 8
    assert len(set(stable_mod(hashes, ceph_pools.LEAST).tolist())) < 8


def test_only_a_number_that_is_far_off_is_worth_a_word() -> None:
    assert [ceph_pools.misfit(present, 64) for present in (8, 16, 32, 64, 128, 256)] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
