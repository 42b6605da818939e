"""The count of reads: which of them are local, and which are not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance.compute.reading.read_counter import ReadCounter
from appliance.compute.reporting.report import build

MIB = 2**20


class OneHolder:
    """A map in which host1 holds "mine", and "shared" with host2, which holds everything else.

    Of what lies in several pieces, host1 holds all of the second piece, and nearly all of the first.
    """

    def __init__(self, chunk_bytes: int = 64 * MIB):
        self.chunk_bytes = chunk_bytes

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        known: dict[str, tuple[str, ...]] = {"mine": ("host1",), "shared": ("host2", "host1"), "odd": ()}
        return [known.get(key, ("host2",)) for key in keys]

    def hosts_of_ranges(self, _bucket: str, ranges: list[tuple[str, int, int]]) -> list[tuple[tuple[str, int], ...]]:
        return [
            (("host1", length),) if offset >= self.chunk_bytes else (("host2", length), ("host1", length - 1))
            for _, offset, length in ranges
        ]


def test_a_read_is_local_only_if_gateway_and_disk_are_here() -> None:
    counter = ReadCounter("host1", lambda _: OneHolder(), OneHolder)
    counter.add("b", "mine", 10, "host1")
    counter.add("b", "mine", 20, "host2")
    counter.add("b", "theirs", 40, "host1")
    counter.add("b", "odd", 80, "host1")
    assert counter.settle() == {
        "host": "host1",
        "reads": {"local": 1, "fallback": 1, "elsewhere": 1, "unplaced": 1},
        "bytes": {"local": 10, "fallback": 20, "elsewhere": 40, "unplaced": 80},
    }
    counter.add("b", "mine", 1, "host1")
    assert counter.settle()["bytes"]["local"] == 11
    counter.add("b", "shared", 2, "host1")
    assert counter.settle()["bytes"]["replica"] == 2
    (row,) = build([counter.settle()]).rows
    assert (row.host, row.reads, row.local, row.replica, row.remote) == ("host1", 6, 3, 1, 3)
    assert (row.bytes, row.remote_bytes) == (153, 140)


def test_where_an_object_lies_in_parts_the_offset_decides() -> None:
    size = 65 * MIB
    counter = ReadCounter("host1", lambda _: OneHolder(), OneHolder)
    counter.add("b", "mine", 10, "host1", 64 * MIB, size)
    counter.add("b", "mine", 20, "host1", 64 * MIB - 20, size)
    counter.add("b", "theirs", 40, "host1", 64 * MIB - 40, 64 * MIB)
    assert counter.settle()["bytes"] == {"local": 10, "elsewhere": 60}


def test_an_object_uploaded_in_parts_is_known_by_its_etag() -> None:
    counter = ReadCounter("host1", lambda _: OneHolder(), OneHolder)
    counter.add("b", "mine", 10, "host1", 0, 100, '"0cc175b9c0f1b6a831c399e269772661"')
    counter.add("b", "mine", 20, "host1", 0, 100, '"0cc175b9c0f1b6a831c399e269772661-3"')
    assert counter.settle()["bytes"] == {"local": 10, "elsewhere": 20}


class Halves:
    """Objects whose head host1 holds, and of which host2 holds what follows the head."""

    def __init__(self, chunk_bytes: int):
        self.chunk_bytes = chunk_bytes

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [("host1",)] * len(keys)

    def hosts_of_ranges(self, _bucket: str, ranges: list[tuple[str, int, int]]) -> list[Any]:
        found = []
        for _, offset, length in ranges:
            head = max(0, min(length, self.chunk_bytes - offset))
            found.append(tuple((host, n) for host, n in (("host1", head), ("host2", length - head)) if n))
        return found


@pytest.mark.parametrize("object_mib", [33, 48, 64])
def test_the_chunk_size_of_the_map_tells_what_is_one_object(object_mib: int) -> None:
    """An object of two pieces is not local to the host of its head."""
    size = object_mib * MIB
    for chunk_mib, kinds in ((64, {"local": 3}), (32, {"spread": 1, "local": 1, "elsewhere": 1})):
        halves = Halves(chunk_mib * MIB)
        counter = ReadCounter("host1", lambda _, halves=halves: halves, lambda halves=halves: halves)
        for offset, nbytes in ((0, size), (0, MIB), (32 * MIB, MIB)):
            counter.add("b", "key", nbytes, "host1", offset, size, '"0cc175b9c0f1b6a831c399e269772661"')
        assert counter.settle()["reads"] == kinds


def test_without_a_map_no_read_is_local() -> None:
    def gone(*_bucket: str) -> OneHolder:
        raise ConnectionRefusedError("gone")

    counter = ReadCounter("host1", gone, gone)
    counter.add("b", "mine", 10, "host1")
    counter.add("b", "parts", 10, "host1", size=65 * MIB)
    assert counter.settle()["reads"] == {"unplaced": 2}


def test_whoever_asks_while_the_map_is_asked_for_misses_no_read() -> None:
    asked, answer = threading.Event(), threading.Event()

    def slowly(_bucket: str) -> OneHolder:
        asked.set()
        answer.wait(10)
        return OneHolder()

    counter = ReadCounter("host1", slowly, OneHolder)
    counter.add("b", "mine", 10, "host1")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(counter.settle)
        assert asked.wait(10)
        second = threads.submit(counter.settle)
        answer.set()
        assert second.result()["reads"] == first.result()["reads"] == {"local": 1}
