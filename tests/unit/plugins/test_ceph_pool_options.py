"""A pool's further options are set where they differ, and nothing is said where they do not."""

from __future__ import annotations

from typing import Any

import pytest

import ceph_pools

POOL: dict[str, Any] = {
    "name": "data",
    "size": 3,
    "min_size": 2,
    "application": "rgw",
    "options": {"pct_update_delay": 1},
}
PRESENT: dict[str, Any] = {"size": 3, "min_size": 2, "pg_autoscale_mode": "off", "options": {"pct_update_delay": 1.0}}
SET = {"prefix": "osd pool set", "pool": "data", "var": "pct_update_delay", "val": "1"}


def test_a_new_pool_gets_its_options_last() -> None:
    assert ceph_pools.creation(POOL, 32)[-1] == SET


def test_a_pool_that_has_them_is_left_alone() -> None:
    assert ceph_pools.correction(POOL, PRESENT) == []


@pytest.mark.parametrize("options", [{}, {"pct_update_delay": 5.0}])
def test_a_pool_without_them_or_with_others_is_corrected(options: dict[str, float]) -> None:
    assert ceph_pools.correction(POOL, PRESENT | {"options": options}) == [SET]


def test_options_that_nobody_asks_for_stay() -> None:
    pool = {name: value for name, value in POOL.items() if name != "options"}
    assert ceph_pools.correction(pool, PRESENT) == []
