"""A key opens one cluster's dashboard, and soon does so no more."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from appliance.notebook.page_keys import LIFETIME, PATTERN, PageKeys

ONE, OTHER = "a" * 32, "b" * 32


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_key_opens_its_own_cluster_alone(clock: Clock) -> None:
    keys = PageKeys(clock)
    key = keys.make(ONE)
    assert keys.opens(key, ONE)
    assert not keys.opens(key, OTHER)
    assert not keys.opens("", ONE)
    assert not keys.opens("", "")
    assert not keys.opens(key[:-1], ONE)


def test_a_key_ends(clock: Clock) -> None:
    keys = PageKeys(clock)
    key = keys.make(ONE)
    clock.now += LIFETIME / 2
    assert keys.opens(key, ONE)
    assert not keys.opens(key, ONE, left=LIFETIME / 2)
    clock.now += LIFETIME / 2
    assert not keys.opens(key, ONE)


def test_keys_that_ended_are_forgotten(clock: Clock) -> None:
    keys = PageKeys(clock)
    keys.make(ONE)
    clock.now += LIFETIME
    last = keys.make(ONE)
    assert len(keys) == 1
    assert keys.opens(last, ONE)


def test_keys_cannot_be_guessed_and_are_as_addresses_expect_them(clock: Clock) -> None:
    keys = PageKeys(clock)
    made = {keys.make(ONE) for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(PATTERN, key) for key in made)
