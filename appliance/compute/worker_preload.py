"""Worker preload: tells the scheduler with each heartbeat what this worker read and sent, so that counts outlive it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appliance.compute.reading.read_counter import counter
from appliance.compute.reporting.collect import EXTENSION
from appliance.compute.reporting.transfers import Transfers

if TYPE_CHECKING:
    from distributed import Worker

    from appliance.compute.reporting.report import WorkerCounts


class CountsExtension:
    """Sends the process's counts to the scheduler.

    Counting asks for the placement map, which may take a moment: it is done beside the event loop, and a heartbeat
    carries the counts of the last time.

    Args:
        worker: the Dask worker.
    """

    def __init__(self, worker: Worker):
        self._counts: WorkerCounts | None = None
        self._running: asyncio.Task[WorkerCounts] | None = None
        self._transfers = Transfers(worker)
        worker.handlers[EXTENSION] = self.counts

    async def counts(self) -> WorkerCounts:
        """Return the counts as of now."""
        reads = await asyncio.to_thread(counter().settle)
        counts: WorkerCounts = {
            "host": reads["host"],
            "reads": reads["reads"],
            "bytes": reads["bytes"],
            "transfers": self._transfers.settle(),
        }
        self._counts = counts
        return counts

    def heartbeat(self) -> WorkerCounts | None:
        """Return the last counts, and count anew. The worker calls this for each heartbeat."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self.counts())
        return self._counts


async def dask_setup(worker: Worker) -> None:
    """Add the extension to a worker: Dask's entry point for preloads."""
    worker.extensions[EXTENSION] = CountsExtension(worker)
