"""A pool's further options are set where they differ, and nothing is said where they do not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "ceph_modules"
POOL: dict[str, Any] = {
    "name": "data",
    "size": 3,
    "min_size": 2,
    "application": "rgw",
    "options": {"pct_update_delay": 1},
}
PRESENT: dict[str, Any] = {"size": 3, "min_size": 2, "pg_autoscale_mode": "off", "options": {"pct_update_delay": 1.0}}
SET = {"prefix": "osd pool set", "pool": "data", "var": "pct_update_delay", "val": "1"}


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pools() -> ModuleType:
    loaded("ansible.module_utils.ceph_cli", ROLE / "module_utils" / "ceph_cli.py")
    return loaded("ceph_pools", ROLE / "library" / "ceph_pools.py")


def test_a_new_pool_gets_its_options_last(pools: ModuleType) -> None:
    assert pools.creation(POOL, 32)[-1] == SET


def test_a_pool_that_has_them_is_left_alone(pools: ModuleType) -> None:
    assert pools.correction(POOL, PRESENT) == []


@pytest.mark.parametrize("options", [{}, {"pct_update_delay": 5.0}])
def test_a_pool_without_them_or_with_others_is_corrected(pools: ModuleType, options: dict[str, float]) -> None:
    assert pools.correction(POOL, PRESENT | {"options": options}) == [SET]


def test_options_that_nobody_asks_for_stay(pools: ModuleType) -> None:
    pool = {name: value for name, value in POOL.items() if name != "options"}
    assert pools.correction(pool, PRESENT) == []
