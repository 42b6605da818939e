"""From objects to hosts: what is chosen, and by what an object is placed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.compute.scheduling.atlas import Atlas
from appliance.compute.scheduling.places import Objects, PlaceFinder, weigh
from appliance.placement import UnknownPlace

ONE, OTHER, FILES = (
    SimpleNamespace(bucket=bucket, is_one_chunk=lambda key: not key.endswith(".nc"))
    for bucket in ("one", "other", "files")
)
AB, BC, NOWHERE = ("ab", 0, 10), ("bc", 0, 100), ("", 0, 10)


MIB = 2**20


class Map:
    chunk_bytes = 64 * MIB
    buckets: Mapping[str, Any] = {}

    def __init__(self, epoch: int = 1, unknown: str = ""):
        self.epoch, self.unknown = epoch, unknown

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [tuple(key) for key in keys]  # a key names its hosts, a letter each

    def address(self, host: str) -> str:
        if host == self.unknown:
            raise UnknownPlace(host)
        return host.upper()


def finder(map_: Any = None) -> PlaceFinder:
    return PlaceFinder(Atlas(SimpleNamespace(get=lambda _bucket: map_ or Map())))


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
    found = finder().find({"t1": [(ONE, AB)], "t2": [(ONE, AB), (OTHER, BC)], "t3": [(ONE, NOWHERE)]}, {"A", "B", "C"})
    assert found["t1"].hosts == ("A", "B")
    assert (found["t2"].hosts, found["t2"].nbytes, found["t2"].mixed) == (("B",), 110, True)
    assert "t3" not in found  # nobody knows where it is


def test_a_host_without_an_address_costs_only_itself() -> None:
    found = finder(Map(unknown="a")).find({"t": [(ONE, AB)]}, {"A", "B"})
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
        "large": [
            (ONE, ("ab", 0, Map.chunk_bytes + 1))
        ],  # more than one RADOS object: its name tells of its head alone
        "two": [(FILES, ("x.nc", 0, 10)), (ONE, BC)],
        "own": [(FILES, BC)],  # an object of a repository, beside the files that it refers to
    }
    found = PlaceFinder(Atlas(maps, Ranges())).find(reads, {"A", "B", "C"})
    assert {task: place.hosts for task, place in found.items()} == {
        "first": ("A", "B"),
        "across": ("C",),
        "large": ("A", "B"),
        "two": ("B",),
        "own": ("B", "C"),
    }
    assert (found["across"].nbytes, found["across"].mixed) == (5, True)
    assert set(PlaceFinder(Atlas(maps)).find(reads, {"A"})) == {"two", "own"}  # by what is known


def test_ranges_that_nobody_places_in_time_keep_no_other_task_from_its_place() -> None:
    released = threading.Event()

    def stuck(_bucket: str, _ranges: object) -> list[Any]:
        released.wait(20)
        return []

    atlas = Atlas(SimpleNamespace(get=lambda _bucket: Map()), SimpleNamespace(hosts_of_ranges=stuck), timeout=0.05)
    found = PlaceFinder(atlas).find({"file": [(FILES, ("x.nc", 0, 10))], "chunk": [(ONE, AB)]}, {"A", "B"})
    released.set()
    assert set(found) == {"chunk"}


class Pieces:
    """Objects of two pieces: the first on a and b, what follows on c."""

    def __init__(self, chunk_bytes: int):
        self.chunk_bytes = chunk_bytes

    def hosts_of_ranges(self, _bucket: str, ranges: Sequence[tuple[str, int, int]]) -> list[Any]:
        heads = [(length, min(length, self.chunk_bytes)) for _, _, length in ranges]
        return [(("a", head), ("b", head), ("c", length - head)) for length, head in heads]


@pytest.mark.parametrize("chunk_mib", [32, 64])
@pytest.mark.parametrize("object_mib", [31, 32, 33, 48, 63, 64])
def test_an_object_is_placed_by_its_name_up_to_the_chunk_size_of_the_map(chunk_mib: int, object_mib: int) -> None:
    placement = Map()
    placement.chunk_bytes = chunk_mib * MIB
    atlas = Atlas(SimpleNamespace(get=lambda _bucket: placement), Pieces(chunk_mib * MIB))
    place = PlaceFinder(atlas).find({"task": [(ONE, ("ab", 0, object_mib * MIB))]}, {"A", "B", "C"})["task"]
    in_pieces = object_mib > chunk_mib
    # Of 64 MiB in pieces of 32, both hosts of the first piece and the host of the second hold as much.
    assert place.hosts == (("A", "B", "C") if (object_mib, chunk_mib) == (64, 32) else ("A", "B"))
    # With one piece the read is local; with two, no host holds all of it.
    assert place.remote_reads == in_pieces


def test_tasks_of_the_same_hosts_share_one_place() -> None:
    found = finder().find({number: [(ONE, AB)] for number in range(100)}, {"A", "B"})
    assert len({id(place) for place in found.values()}) == 1
