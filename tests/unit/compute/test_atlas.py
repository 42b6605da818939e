"""The scheduler's maps: how long one is waited for, which one stands in, and when one has changed."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.compute.scheduling.atlas import Atlas


def placement(epoch: int = 1, **buckets: str) -> Any:
    return SimpleNamespace(epoch=epoch, buckets=buckets)


def test_a_map_that_does_not_come_is_waited_for_once_and_the_last_one_stands_in() -> None:
    silent, now = threading.Event(), [0.0]
    silent.set()

    def get(_bucket: str) -> Any:
        silent.wait(20)
        return placement()

    atlas = Atlas(SimpleNamespace(get=get), timeout=2.0, retry=10.0, clock=lambda: now[0])
    first = atlas.get("alice")
    silent.clear()
    assert atlas.get("alice") is first
    assert atlas.get("alice") is first  # without asking: it would hang for the timeout each time
    with pytest.raises(TimeoutError, match="did not answer just now"):
        atlas.get("bob")
    silent.set()
    now[0] = 11.0
    assert atlas.get("bob") is not first
    atlas.close()


def test_it_is_told_when_a_map_has_changed() -> None:
    answers = [placement(1)]
    atlas = Atlas(SimpleNamespace(get=lambda _bucket: answers[-1]))
    atlas.get("alice")
    assert not asyncio.run(atlas.changed(["alice"]))
    answers.append(placement(2))
    assert asyncio.run(atlas.changed(["alice"]))
    assert not asyncio.run(atlas.changed(["alice"]))
    assert atlas.get("alice") is answers[-1]
    answers.append(placement(2, alice="made again"))
    assert asyncio.run(atlas.changed(["alice"]))
