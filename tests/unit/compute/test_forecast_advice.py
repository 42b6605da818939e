"""The advice of a forecast: each piece where it belongs, with its figures, and none where all is well."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from appliance.compute.forecasting.advice import advice
from appliance.compute.forecasting.expected_reads import ArrayReads, Reads, TaskRead
from appliance.compute.forecasting.forecast import Forecast
from appliance.compute.scheduling.zarr_source import ZarrSource

MIB, GIB = 2**20, 2**30
SOURCE = ZarrSource(
    "alice", "good.zarr/t", (8, 256, 512), 8 * 256 * 512 * 8, str, (range(8000), range(256), range(512)),
    shape=(8000, 256, 512), inner_shape=(8, 256, 512),
)  # fmt: skip
ELEMENTS = 8000 * 256 * 512
WORKERS = {f"tls://w{number}": {"host": f"h{number}", "nthreads": 1} for number in range(3)}
GOOD = Forecast(
    tasks=2000, reads=1000, objects=1000, bytes=6 * GIB, memory=GIB, memory_limit=4 * GIB, held=GIB, result_bytes=8
)


def array(**changes: Any) -> ArrayReads:
    made = ArrayReads("s3://alice/good.zarr/t", SOURCE, 1000, 1000, 6.0 * GIB, ELEMENTS, ELEMENTS)
    return replace(made, **changes)


def reads(one: ArrayReads, parts: int = 1, count: int = 1000) -> Reads:
    found = Reads(arrays=[one], local=count)
    found.tasks = {
        key: TaskRead([(SOURCE, (f"{key}/{n}", 0, 1)) for n in range(parts)], 1, 1.0) for key in range(count)
    }
    found.holders = Counter(dict.fromkeys(("h0", "h1", "h2"), 600))
    return found


def test_an_analysis_that_is_well_made_gets_no_advice() -> None:
    assert advice(GOOD, reads(array()), WORKERS, exchange=False) == ()
    assert advice(GOOD, reads(array()), {}, exchange=False) == ()
    assert advice(replace(GOOD, memory=None, held=None, result_bytes=None), reads(array()), {}, exchange=False) == ()


LARGE = replace(SOURCE, chunk_shape=(80, 256, 512), chunk_bytes=80 * MIB, inner_shape=(80, 256, 512))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bytes": 1000.0 * 2**17}, "1,000 objects of 128 KiB"),
        ({"source": LARGE}, "a chunk is 80.0 MiB before compression"),
        ({"reads": 4000}, "each object is read 4.0 times"),
        ({"used": 8000}, "0.0 % of what is read is used, as a chunk is read whole. Chunks are 8 x 256 x 512"),
    ],
)
def test_chunks_that_do_not_fit_are_named_with_their_array(changes: dict[str, Any], says: str) -> None:
    found = advice(GOOD, reads(array(**changes)), WORKERS, exchange=False)
    assert [sentence for sentence in found if says in sentence and "s3://alice/good.zarr/t" in sentence], found


def test_few_small_objects_are_no_matter() -> None:
    small = array(bytes=10.0 * 2**17, reads=10, objects=10)
    assert advice(GOOD, reads(small), WORKERS, exchange=False) == ()


def test_tasks_of_several_objects_are_told_with_their_local_share() -> None:
    found = reads(array(), parts=3)
    found.local = 0
    for task in found.tasks.values():
        task.reads = 3
    (sentence,) = advice(GOOD, found, WORKERS, exchange=False)
    assert "1,000 of 1,000 tasks that read, read several objects (3,000 together)" in sentence
    assert "0 % are local" in sentence


@pytest.mark.parametrize("exchange", [False, True])
def test_data_that_is_all_in_memory_is_told(exchange: bool) -> None:
    (sentence,) = advice(replace(GOOD, held=7 * GIB), reads(array()), WORKERS, exchange)
    assert sentence.startswith("Data that is rechunked is" if exchange else "The data is")
    assert "7,168.0 MiB of 8,000.0 MiB" in sentence
    # Of little data nobody asks.
    little = array(used=ELEMENTS // 100, touched=ELEMENTS // 100)
    assert advice(replace(GOOD, held=7 * GIB), reads(little), WORKERS, exchange) == ()


def test_memory_above_the_limit_and_a_large_result_are_told() -> None:
    (sentence,) = advice(replace(GOOD, memory=4 * GIB), reads(array()), WORKERS, exchange=False)
    assert "The fullest worker needs 4,096.0 MiB; from 3,276.8 MiB on" in sentence
    assert advice(replace(GOOD, memory=4 * GIB, memory_limit=None), reads(array()), WORKERS, exchange=False) == ()
    (sentence,) = advice(replace(GOOD, result_bytes=2 * GIB), reads(array()), WORKERS, exchange=False)
    assert "The result is 2,048.0 MiB" in sentence


def test_workers_where_nothing_lies_and_hosts_without_workers_are_named() -> None:
    found = reads(array())
    found.holders = Counter({"h0": 1000, "h7": 1000})
    useless, missing = advice(GOOD, found, WORKERS, exchange=False)
    assert "2 workers are on 2 hosts that hold nothing of what is read (h1, h2)" in useless
    assert "1 hosts that hold some of it have no worker (h7)" in missing


def test_more_threads_than_tasks_are_told() -> None:
    found = reads(array(objects=2, reads=2, bytes=16.0 * MIB), count=2)
    (sentence,) = advice(GOOD, found, WORKERS, exchange=False)
    assert sentence.startswith("2 tasks read, and the workers have 3 threads")
