"""A stored array that holds nothing, maps that say anything, and a scheduler with workers in this process.

What is real: distributed's scheduler (with its own checks of its state switched on), workers, work stealing, Dask's
graphs, and all of the plugin. What is not: the store behind the array, which only notes who reads what.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import Client, Scheduler, Worker, get_worker

from appliance.compute.scheduling.atlas import Atlas
from appliance.compute.scheduling.coassignment import CoassignmentPlugin
from appliance.compute.scheduling.locality import LocalityPlugin

SIX = tuple(f"127.0.0.{number}" for number in range(21, 27))
READS: list[tuple[str, str, bool]] = []  # host that read, key, whether it held it
STUCK = 300.0  # s after which a test is thought to be stuck
GATE = threading.Event()  # while it is cleared, reads wait: nothing is done while a test changes the cluster
GATE.set()


def stopped() -> float:
    """A clock that stands still: no locality wait ends, so that no host takes a foreign task, however busy it is."""
    return 0.0


class StandIn:
    """An array of one-dimensional chunks, each an object ``<name>/<number>`` in the bucket ``alice``."""

    def __init__(self, name: str, chunks: int, replicas: int = 2, seconds: float = 0.0, length: int = 100):
        self.name, self.replicas, self.seconds = name, replicas, seconds
        self.chunks, self.shape = (length,), (chunks * length,)
        self.dtype, self.ndim = np.dtype("f8"), 1

    @property
    def store_path(self) -> Any:
        store = SimpleNamespace(fs=SimpleNamespace(protocol="s3"), path="alice")
        return SimpleNamespace(store=store, path=self.name)

    @property
    def metadata(self) -> Any:
        return SimpleNamespace(encode_chunk_key=lambda coordinates: str(coordinates[0]))

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        (kept,) = index
        (size,) = self.chunks
        host = get_worker().address.split("//")[1].split(":")[0]
        for number in range(kept.start // size, math.ceil(kept.stop / size)):
            key = f"{self.name}/{number}"
            READS.append((host, key, host in holders(key, self.replicas)))
        GATE.wait(STUCK)
        if self.seconds:
            time.sleep(self.seconds)
        return np.full(kept.stop - kept.start, 1.0)

    def array(self, per_task: int = 1, **options: Any) -> da.Array:
        """As a Dask array, with so many objects a task."""
        return da.from_array(self, chunks=self.chunks[0] * per_task, name=f"{self.name}-{id(self)}", **options)


def holders(key: str, replicas: int = 2, hosts: tuple[str, ...] = SIX, shift: int = 0) -> tuple[str, ...]:
    """Hosts of an object, by its name; another ``shift`` puts all objects elsewhere."""
    rest, digest, chosen = list(hosts), zlib.crc32(key.encode()) // 7 + shift, []
    for _ in range(replicas):
        chosen.append(rest.pop(digest % len(rest)))
        digest //= 11
    return tuple(chosen)


class Map:
    """A placement map by ``holders``."""

    chunk_bytes = 64 * 2**20
    buckets: Mapping[str, Any] = {}

    def __init__(self, epoch: int = 1, replicas: int = 2, shift: int = 0):
        self.epoch, self.replicas, self.shift = epoch, replicas, shift

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [holders(key, self.replicas, shift=self.shift) for key in keys]

    def address(self, host: str) -> str:
        return host


class Maps:
    """A client of the placement service that answers what the test says."""

    def __init__(self, answer: Callable[[], Any] | None = None):
        self.answer = answer or Map
        self.asked = 0

    def get(self, _bucket: str | None = None) -> Any:
        self.asked += 1
        return self.answer()


class Facility(SimpleNamespace):
    """``scheduler``, ``client``, ``plugin``, and ``workers`` by host."""

    async def add(self, *hosts: str, nthreads: int = 1) -> None:
        for host in hosts:
            worker = Worker(self.scheduler.address, host=host, nthreads=nthreads, dashboard=False, memory_limit=0)
            self.workers[host] = await worker

    async def lose(self, host: str) -> None:
        """End a worker without a word to the scheduler of where its tasks should go."""
        await self.workers.pop(host).close(executor_wait=False, nanny=False)

    def settled(self) -> None:
        """Nothing is kept of what is done."""
        assert not self.plugin.places
        assert self.plugin.queue is None or not self.plugin.queue.queue


@contextlib.asynccontextmanager
async def facility(*hosts: str, maps: Any = None, nthreads: int = 1, **options: Any) -> AsyncIterator[Facility]:
    """A scheduler with both plugins, and a worker on each host."""
    READS.clear()
    quiet = {"distributed.scheduler.validate": True, "distributed.admin.tick.interval": "1s"}
    logging.getLogger("distributed.worker").setLevel(logging.ERROR)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(dask.config.set(quiet))
        # A port of its own also for HTTP: where 8787 is taken, by tests beside these, distributed leaves a socket open.
        own = Scheduler(port=0, host="127.0.0.1", dashboard=False, dashboard_address="127.0.0.1:0", validate=True)
        scheduler = await stack.enter_async_context(own)
        plugin = LocalityPlugin(scheduler, Atlas(maps or Maps()), **options)
        scheduler.add_plugin(plugin)
        scheduler.add_plugin(CoassignmentPlugin(scheduler, locality_wait=0.2))
        made = Facility(scheduler=scheduler, plugin=plugin, workers={})
        await made.add(*hosts, nthreads=nthreads)
        made.client = await stack.enter_async_context(Client(scheduler.address, asynchronous=True))
        try:
            yield made
        finally:
            for worker in made.workers.values():
                await worker.close(executor_wait=False, nanny=False)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine; one that is stuck fails, however slow the machine."""
    asyncio.run(asyncio.wait_for(test(), STUCK))


async def until(ready: Callable[[], object]) -> None:
    """Let others work until something is so."""
    while not ready():
        await asyncio.sleep(0.01)


def local_share() -> float:
    """Part of the reads so far that were local."""
    return sum(local for _, _, local in READS) / len(READS)
