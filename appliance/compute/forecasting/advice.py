"""What to do otherwise: advice from what an analysis will read and hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from appliance.compute.forecasting.forecast import Forecast, size

if TYPE_CHECKING:
    from appliance.compute.forecasting.expected_reads import ArrayReads, Reads

SMALL_BYTES, LARGE_BYTES = 2**20, 64 * 2**20  # of a stored object: below it a request costs more than its bytes
MANY = 100  # objects; of fewer, small ones cost no time to speak of
AGAIN = 1.5  # reads of each object
SLIVER = 0.25  # part that is used of what is read
SEVERAL = 1.5  # objects that a task reads
IN_MEMORY = 0.6  # of all values that tasks read, what the workers hold together at one time
PAUSE = 0.8  # of its limit, at which a worker takes no more tasks (distributed.worker.memory.pause)
LARGE_VALUES = 2**30  # bytes of all values that are read; of less, nobody asks where they are
RESULT_BYTES = 2**30  # above it a result is no summary any more
GOOD = "chunks of 8 to 60 MiB are good"


def advice(
    forecast: Forecast, reads: Reads, workers: Mapping[str, Mapping[str, Any]], exchange: bool
) -> tuple[str, ...]:
    """Return the advice for an analysis, in sentences.

    Args:
        forecast: its figures.
        reads: what it reads.
        workers: the scheduler's account of the workers, by address; empty where there is no cluster.
        exchange: whether data is rechunked or shuffled between all workers (distributed's p2p).
    """
    found = [sentence for array in reads.arrays for sentence in _of_array(array)]
    return (*found, *_of_tasks(reads), *_of_memory(forecast, reads, exchange), *_of_workers(reads, workers))


def _of_array(array: ArrayReads) -> Iterator[str]:
    source = array.source
    each = array.bytes / array.reads if array.reads else 0.0
    if 0 < each < SMALL_BYTES and array.objects > MANY:
        yield (
            f"{array.name}: {array.objects:,} objects of {each / 2**10:,.0f} KiB; with each, the request takes longer "
            f"than its bytes. Write the array in larger chunks ({GOOD}), or in shards."
        )
    if source.references is None and source.chunk_bytes > LARGE_BYTES:
        yield (
            f"{array.name}: a chunk is {size(source.chunk_bytes)} before compression. It may lie in several pieces on "
            f"different machines, and each task holds all of it. Write smaller ones ({GOOD})."
        )
    if array.objects and array.reads > AGAIN * array.objects:
        yield (
            f"{array.name}: each object is read {array.reads / array.objects:.1f} times, since several tasks need a "
            "part of it. Open with chunks as they are stored (chunks={}), select afterwards, or persist() what is used "
            "several times."
        )
    if array.touched and array.used < SLIVER * array.touched:
        yield (
            f"{array.name}: {100 * array.used / array.touched:.1f} % of what is read is used, as a chunk is read "
            f"whole. Chunks are {' x '.join(map(str, source.inner_shape or source.chunk_shape))}: if such selections "
            "come often, keep a copy with chunks that are long where you select much and short where you select "
            "little."
        )


def _of_tasks(reads: Reads) -> Iterator[str]:
    several = [task for task in reads.tasks.values() if len(task.parts) > 1]
    parts = sum(len(task.parts) for task in reads.tasks.values())
    if reads.tasks and parts > SEVERAL * len(reads.tasks):
        share = "" if reads.local is None or not reads.reads else f": {100 * reads.local / reads.reads:.0f} % are local"
        yield (
            f"{len(several):,} of {len(reads.tasks):,} tasks that read, read several objects ({parts:,} together), and "
            f"seldom one host holds all of them{share}. Open with chunks as they are stored (chunks={{}})."
        )


def _of_memory(forecast: Forecast, reads: Reads, exchange: bool) -> Iterator[str]:
    values = sum(array.used * array.source.chunk_bytes / math.prod(array.source.chunk_shape) for array in reads.arrays)
    if forecast.held is not None and values > LARGE_VALUES and forecast.held > IN_MEMORY * values:
        what = "Data that is rechunked is" if exchange else "The data is"
        yield (
            f"{what} nearly all in the workers' memory at one time ({size(forecast.held)} of {size(values)}). Where "
            "that is too much, work on a part after the other, or write the data once with chunks of the other shape."
        )
    if forecast.memory is not None and forecast.memory_limit and forecast.memory > PAUSE * forecast.memory_limit:
        yield (
            f"The fullest worker needs {size(forecast.memory)}; from {size(PAUSE * forecast.memory_limit)} on it takes "
            "no more tasks, and at its limit it is ended. Give workers more (new_cluster(worker_memory=…)), take more "
            "workers, or smaller chunks."
        )
    if forecast.result_bytes is not None and forecast.result_bytes > RESULT_BYTES:
        yield (
            f"The result is {size(forecast.result_bytes)}. One worker joins it, and your notebook holds it. Write it "
            "instead: to_zarr('s3://…')."
        )


def _of_workers(reads: Reads, workers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not workers or not reads.tasks:
        return
    present = {worker["host"] for worker in workers.values()}
    threads = sum(worker["nthreads"] for worker in workers.values())
    if reads.holders:
        useless = sorted(present - set(reads.holders))
        missing = sorted(set(reads.holders) - present)
        if useless:
            count = sum(worker["host"] in useless for worker in workers.values())
            yield (
                f"{count:,} workers are on {len(useless):,} hosts that hold nothing of what is read "
                f"({', '.join(useless)}): all that they read comes over the network. "
                f"{len(present) - len(useless):,} hosts hold some and have workers."
            )
        if missing:
            yield (
                f"{len(missing):,} hosts that hold some of it have no worker ({', '.join(missing)}): with one there, "
                "more reads are local. cluster.scale(…) to more."
            )
    if len(reads.tasks) < threads:
        yield (
            f"{len(reads.tasks):,} tasks read, and the workers have {threads:,} threads: the other threads have "
            "nothing to read."
        )
