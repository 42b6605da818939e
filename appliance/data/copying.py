"""Values from files into the chunks of a new dataset, in this process or as tasks of a Dask cluster.

A file on S3 is read by whoever does the task, a file of this machine by this process: workers see no homes. Values are
copied as they are stored in the file, packed numbers as the same packed numbers, so that nothing is rounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.data import DataError, quiet
from appliance.data.any_source import open_source
from appliance.data.blocks import Region
from appliance.data.described import fetch_small
from appliance.data.sources import Readable
from appliance.data.stored import Ranges, grid_of
from appliance.placement.model.s3_address import S3Address

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

RETRIES = 3  # of a task whose worker is lost
HELD = 4  # files that a worker holds open
# s without any worker after which a copy is given up: a cluster starts in some ten, and replaces a lost worker as fast.
WORKERS_SECONDS = 180.0
LOOK_SECONDS = 5.0  # after which a copy of which nothing was heard looks whether there are workers


@dataclass(frozen=True)
class Piece:
    """The part of a block that is in one file.

    Attributes:
        url: of the file.
        state: what the file was when it was looked at.
        target: the part, in the block.
        region: the part, in the file's variable.
    """

    url: str
    state: Any
    target: Region
    region: Region


@dataclass(frozen=True)
class Task:
    """A block that is copied.

    Attributes:
        name: of the variable, in the new dataset.
        old_name: in the files.
        group: in the files; the root's if None.
        region: of the variable.
        pieces: of which files it is made.
        dim: along which the files are joined; "" for one file.
    """

    name: str
    old_name: str
    group: str | None
    region: Region
    pieces: tuple[Piece, ...]
    dim: str = ""

    @property
    def is_local(self) -> bool:
        """Whether a file of this machine is read."""
        return any(S3Address.find(piece.url) is None for piece in self.pieces)


def ranges_of(source: Readable, name: str, region: Region) -> Ranges:
    """The bytes of a file that hold a part of a variable: of the chunks, or rows, that it touches."""
    stored = source.layout.arrays.get(name)
    if stored is None or len(stored.shape) != len(region):
        return [(0, source.copy.nbytes)]
    if stored.is_plain:
        begin, row = int(stored.offsets.flat[0]), int(stored.lengths.flat[0]) // stored.shape[0]
        return [(begin + row * region[0].start, begin + row * region[0].stop)]
    grid = grid_of(stored.shape, stored.chunks)
    axes = zip(region, stored.chunks, grid, strict=True)
    part = tuple(slice(min(a.start // c, n), min(-(-a.stop // c), n)) for a, c, n in axes)
    lengths = stored.lengths[part]
    kept = lengths > 0
    starts = stored.offsets[part][kept].tolist()
    return [(start, start + length) for start, length in zip(starts, lengths[kept].tolist(), strict=True)]


def is_near(source: Readable, name: str, region: Region, nbytes: int) -> bool:
    """Whether at most ``nbytes`` of a file have to be read for a part of a variable, or one chunk, which is least."""
    ranges = ranges_of(source, name, region)
    stored = source.layout.arrays.get(name)
    is_least = len(ranges) <= 1 and not (stored is not None and stored.is_plain)
    return is_least or sum(end - start for start, end in ranges) <= nbytes


def read(source: Readable, task: Task, piece: Piece) -> np.ndarray:
    """The values of a piece, as they are stored. Raises ``DataError`` where the file is another by now."""
    if source.copy.state != piece.state:
        raise DataError(f"{piece.url}: was changed while it was read: try again when it is at rest")
    source.copy.fetch(ranges_of(source, task.old_name, piece.region))
    try:
        with source.raw() as (raw, _), source.named(f"variable {task.old_name!r}: xarray cannot read it"):
            return np.asarray(raw[task.old_name][piece.region].values)
    finally:
        source.copy.forget()


def copy(task: Task, store: Any, source_of: Callable[[str], contextlib.AbstractContextManager[Readable]]) -> None:
    """Copy a block into a Zarr store."""
    import zarr

    quiet.codecs()
    array = zarr.open_array(store, path=task.name, mode="r+", zarr_format=3)
    block = np.empty(tuple(axis.stop - axis.start for axis in task.region), array.dtype)
    for piece in task.pieces:
        with source_of(piece.url) as source:
            block[piece.target] = read(source, task, piece)
    array[task.region] = block


# In this process


class Here:
    """Does tasks in threads of this process.

    Args:
        source: what gives a file by its address, one at a time.
        threads: how many blocks are in memory at once.
    """

    def __init__(self, source: Callable[[str], Readable], threads: int):
        self._source, self._threads = source, threads
        self._lock = threading.Lock()  # the netCDF library does one thing at a time anyhow

    @contextlib.contextmanager
    def source_of(self, url: str) -> Iterator[Readable]:
        """A file, for one thread."""
        with self._lock:
            yield self._source(url)

    def run(self, tasks: Sequence[Task], store: Any, done: Callable[[Task], None]) -> None:
        """Do tasks; the first error ends it, when what was begun has ended."""
        waiting = iter(tasks)
        running: dict[Future[None], Task] = {}
        with ThreadPoolExecutor(self._threads, thread_name_prefix="ingest") as pool:
            while True:
                for task in waiting:
                    running[pool.submit(copy, task, store, self.source_of)] = task
                    if len(running) >= self._threads:
                        break
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    future.result()
                    done(task)


# On a worker

_held: dict[tuple[str, str | None, Any, str], tuple[Readable, tempfile.TemporaryDirectory[str]]] = {}
_lock = threading.Lock()
_running: set[object] = set()  # tasks that are at work in this process
_ended = threading.Condition()


def on_worker(task: Task, handle: Any) -> Any:
    """Do a task on a worker, and hand back what it was written by."""
    states = {piece.url: piece.state for piece in task.pieces}

    @contextlib.contextmanager
    def source_of(url: str) -> Iterator[Readable]:
        with _lock:
            yield _source(url, task.group, states[url], task.dim)

    with _at_work():
        copy(task, getattr(handle, "store", handle), source_of)
    return handle if hasattr(handle, "store") else None


@contextlib.contextmanager
def _at_work() -> Iterator[None]:
    """Let others see that a task is at work, until it has ended."""
    token = object()
    with _ended:
        _running.add(token)
    try:
        yield
    finally:
        with _ended:
            _running.remove(token)
            _ended.notify_all()


def _source(url: str, group: str | None, state: Any, dim: str) -> Readable:
    key = (url, group, state, dim)
    if key not in _held:
        while len(_held) >= HELD:
            _held.pop(next(iter(_held)))[1].cleanup()
        folder = tempfile.TemporaryDirectory(prefix="appliance-ingest-")
        try:
            source = open_source(url, group, Path(folder.name), dim)
            fetch_small(source)
            source.copy.keep()
        except BaseException:
            folder.cleanup()
            raise
        _held[key] = (source, folder)
    return _held[key][0]


async def release() -> None:
    """Let go of the files that this process holds, when the tasks have ended that are at work: a cancelled one too.

    Else it could write a chunk into what is made in the same place afterwards. Not in the event loop, which it would
    stop: a worker that does not answer is taken for lost.
    """
    await asyncio.to_thread(_release)


def _release() -> None:
    with _ended:
        now = set(_running)
        _ended.wait_for(lambda: not now & _running)
    with _lock:
        while _held:
            _held.popitem()[1][1].cleanup()


def on_cluster(
    client: Client, tasks: Sequence[Task], handle: Any, done: Callable[[Task], None], merge: Callable[[list[Any]], None]
) -> None:
    """Do tasks on a cluster's workers. The first error ends it; ``merge`` is called with what they handed back.

    Raises:
        OSError: workers ended again and again, or there has been none for ``WORKERS_SECONDS``.
    """
    from distributed import KilledWorker

    futures = client.map(on_worker, tasks, handle=handle, pure=False, retries=RETRIES, key="ingest")
    of = dict(zip(futures, tasks, strict=True))
    made = []
    try:
        for future, result in _as_they_end(client, futures):
            made.append(result)
            done(of[future])
    except KilledWorker as error:
        raise OSError(
            f"{tasks[0].name}: the workers of a block ended again and again, as they do when memory is short: name "
            f"smaller blocks with --block ({error})"
        ) from error
    finally:
        client.cancel(futures)
        merge([each for each in made if each is not None])


def _as_they_end(client: Client, futures: Collection[DaskFuture[Any]]) -> Iterator[tuple[DaskFuture[Any], Any]]:
    """Futures with their results, as they end. Raises ``OSError`` where there is no worker that they could wait for."""
    from distributed import wait as wait_for

    waiting, last = set(futures), time.monotonic() + WORKERS_SECONDS
    while waiting:
        try:
            ended = wait_for(waiting, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            ended = set()
        for future in ended:
            if future.status == "error":
                future.result()
            try:
                result = future.result(timeout=LOOK_SECONDS)
            except TimeoutError:  # its worker is lost, and the result with it: it is made once more
                continue
            waiting.remove(future)
            yield future, result
        if client.nthreads():
            last = time.monotonic() + WORKERS_SECONDS
        elif time.monotonic() > last:
            raise OSError(no_workers())


def no_workers() -> str:
    """What a researcher is told of a cluster without workers."""
    return (
        f"the cluster has had no worker for {WORKERS_SECONDS:.0f} s: its workers wait for room that others have, or "
        "end as they start. Ask again later, for fewer of them, or without --workers (client): then this process copies"
    )
