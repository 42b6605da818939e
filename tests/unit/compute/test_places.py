"""From objects to hosts: what is chosen, and what maps may do meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.compute.places import OBJECT_BYTES, Atlas, Objects, Places, weigh
from appliance.placement import UnknownPlace

ONE, OTHER, FILES = (
    SimpleNamespace(bucket=bucket, is_whole=lambda key: not key.endswith(".nc")) for bucket in ("one", "other", "files")
)
AB, BC, NOWHERE = ("ab", 0, 10), ("bc", 0, 100), ("", 0, 10)


class Map:
    def __init__(self, epoch: int = 1, unknown: str = ""):
        self.epoch, self.unknown = epoch, unknown

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [tuple(key) for key in keys]  # a key names its hosts, a letter each

    def address(self, host: str) -> str:
        if host == self.unknown:
            raise UnknownPlace(host)
        return host.upper()


def places(map_: Any = None) -> Places:
    return Places(Atlas(SimpleNamespace(get=lambda _bucket: map_ or Map())))


@pytest.mark.parametrize(
    ("held", "present", "chosen"),
    [
        ([("ab", 1), ("bc", 1)], "abc", ("b", True)),
        ([("ab", 1), ("cd", 5)], "abcd", ("cd", True)),  # by bytes
        ([("ab", 1), ("ba", 1)], "ab", ("ab", False)),
        ([("ab", 1), ("bc", 1)], "ac", ("ac", True)),  # the best has no worker
        ([("ab", 1), ("bc", 1)], "z", ("b", True)),  # nobody has: a worker may come
        ([("", 1), ("", 1)], "a", ("", False)),
    ],
)
def test_a_task_goes_where_most_of_its_bytes_are(
    held: list[tuple[str, int]], present: str, chosen: tuple[str, bool]
) -> None:
    hosts, mixed = weigh([(tuple(hosts), nbytes) for hosts, nbytes in held], set(present))
    assert ("".join(hosts), mixed) == chosen


def test_places_of_tasks_of_one_and_of_several_objects() -> None:
    found = places().of({"t1": [(ONE, AB)], "t2": [(ONE, AB), (OTHER, BC)], "t3": [(ONE, NOWHERE)]}, {"A", "B", "C"})
    assert found["t1"].hosts == ("A", "B")
    assert (found["t2"].hosts, found["t2"].nbytes, found["t2"].mixed) == (("B",), 110, True)
    assert "t3" not in found  # nobody knows where it is


def test_a_host_without_an_address_costs_only_itself() -> None:
    found = places(Map(unknown="a")).of({"t": [(ONE, AB)]}, {"A", "B"})
    assert found["t"].hosts == ("B",)


class Ranges:
    """The first ten bytes of each file are on a and b, what follows on c; three bytes of a range across on c."""

    def hosts_of_ranges(self, _bucket: str, ranges: Sequence[tuple[str, int, int]]) -> list[Any]:
        return [(("a", 10), ("b", 10)) if not offset else (("c", 3), ("b", 2)) for _, offset, _ in ranges]


def test_parts_of_files_are_placed_by_range_and_not_by_name() -> None:
    maps = SimpleNamespace(get=lambda _bucket: Map())
    reads: dict[str, Objects] = {
        "first": [(FILES, ("x.nc", 0, 10))],
        "across": [(FILES, ("x.nc", 7, 5))],
        "large": [(ONE, ("ab", 0, OBJECT_BYTES + 1))],  # more than one RADOS object: its name tells of its head alone
        "two": [(FILES, ("x.nc", 0, 10)), (ONE, BC)],
        "own": [(FILES, BC)],  # an object of a repository, beside the files that it refers to
    }
    found = Places(Atlas(maps, Ranges())).of(reads, {"A", "B", "C"})
    assert {task: place.hosts for task, place in found.items()} == {
        "first": ("A", "B"),
        "across": ("C",),
        "large": ("A", "B"),
        "two": ("B",),
        "own": ("B", "C"),
    }
    assert (found["across"].nbytes, found["across"].mixed) == (5, True)
    assert set(Places(Atlas(maps)).of(reads, {"A"})) == {"two", "own"}  # by what is known


def test_ranges_that_nobody_places_in_time_keep_no_other_task_from_its_place() -> None:
    def slowly(_bucket: str, _ranges: object) -> list[Any]:
        time.sleep(0.2)
        return []

    atlas = Atlas(SimpleNamespace(get=lambda _bucket: Map()), SimpleNamespace(hosts_of_ranges=slowly), timeout=0.05)
    found = Places(atlas).of({"file": [(FILES, ("x.nc", 0, 10))], "chunk": [(ONE, AB)]}, {"A", "B"})
    assert set(found) == {"chunk"}


def test_tasks_of_the_same_hosts_share_one_place() -> None:
    found = places().of({number: [(ONE, AB)] for number in range(100)}, {"A", "B"})
    assert len({id(place) for place in found.values()}) == 1


def test_a_map_that_does_not_come_is_waited_for_once_and_the_last_one_stands_in() -> None:
    silent, now = threading.Event(), [0.0]
    silent.set()

    def get(_bucket: str) -> Map:
        silent.wait(20)
        return Map()

    atlas = Atlas(SimpleNamespace(get=get), timeout=0.05, retry=10.0, clock=lambda: now[0])
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
    answers = [Map(1)]
    atlas = Atlas(SimpleNamespace(get=lambda _bucket: answers[-1]))
    atlas.get("alice")
    assert not asyncio.run(atlas.changed(["alice"]))
    answers.append(Map(2))
    assert asyncio.run(atlas.changed(["alice"]))
    assert not asyncio.run(atlas.changed(["alice"]))
    assert atlas.get("alice") is answers[-1]
