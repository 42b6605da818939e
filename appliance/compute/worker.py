"""Worker preload: tells the scheduler what this worker read, with each heartbeat, so that counts outlive the worker."""

from __future__ import annotations

import asyncio
from typing import Any

from appliance.compute.counters import counter
from appliance.compute.reads import EXTENSION


class ReadsExtension:
    """Carries the process's counts to the scheduler.

    Counting asks for the placement map, which may take a moment: it is done beside the event loop, and a heartbeat
    carries the counts of the last time.
    """

    def __init__(self, worker: Any):
        self._counts: dict[str, Any] = {}
        self._busy: asyncio.Task[Any] | None = None
        worker.handlers[EXTENSION] = self.counts

    async def counts(self) -> dict[str, Any]:
        """The counts as of now."""
        self._counts = await asyncio.to_thread(counter().settle)
        return self._counts

    def heartbeat(self) -> dict[str, Any]:
        """Called by the worker for each heartbeat."""
        if self._busy is None or self._busy.done():
            self._busy = asyncio.ensure_future(self.counts())
        return self._counts


async def dask_setup(worker: Any) -> None:
    """Dask's entry point for preloads."""
    worker.extensions[EXTENSION] = ReadsExtension(worker)
