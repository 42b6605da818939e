"""Worker preload: tells the scheduler with each heartbeat what this worker read and sent, so that counts outlive it."""

from __future__ import annotations

import asyncio
from typing import Any

from appliance.compute.counters import counter
from appliance.compute.gather import EXTENSION
from appliance.compute.transfers import Transfers


class ReadsExtension:
    """Carries the process's counts to the scheduler.

    Counting asks for the placement map, which may take a moment: it is done beside the event loop, and a heartbeat
    carries the counts of the last time.
    """

    def __init__(self, worker: Any):
        self._counts: dict[str, Any] = {}
        self._busy: asyncio.Task[Any] | None = None
        self._transfers = Transfers(worker)
        worker.handlers[EXTENSION] = self.counts

    async def counts(self) -> dict[str, Any]:
        """The counts as of now."""
        reads = await asyncio.to_thread(counter().settle)
        self._counts = {**reads, "transfers": self._transfers.settle()}
        return self._counts

    def heartbeat(self) -> dict[str, Any]:
        """Called by the worker for each heartbeat."""
        if self._busy is None or self._busy.done():
            self._busy = asyncio.ensure_future(self.counts())
        return self._counts


async def dask_setup(worker: Any) -> None:
    """Dask's entry point for preloads."""
    worker.extensions[EXTENSION] = ReadsExtension(worker)
