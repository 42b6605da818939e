"""The error of a task that ended its workers, with what a researcher needs: worker, memory, limit, and what to change.

Dask's own names the task and an address. A worker that needs more memory than its unit may have is ended by the kernel
at once, and can tell nobody. What is known is what it had when it was last heard of, which is every half second to
every five.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import distributed.scheduler
from dask.utils import format_bytes, key_split
from distributed import SchedulerPlugin
from distributed.metrics import time

from appliance.compute import distributed_parts

if TYPE_CHECKING:
    from distributed import Scheduler
    from distributed.scheduler import WorkerState

NEARLY_FULL = 0.7  # of a worker's limit: who had as much shortly before its end died of memory, as far as can be told


class KilledWorker(distributed.scheduler.KilledWorker):
    """Dask's error of the same name, which says more.

    Attributes:
        memory: bytes that the last worker had when it was last heard of; None where nothing was heard.
        ago: s between that and its end.
    """

    # Of the scheduler of this process, if it is one. Who unpickles an error elsewhere gets what was known there.
    deaths: Deaths | None = None

    def __init__(self, task: Any, last_worker: WorkerState, allowed_failures: int):
        super().__init__(task, last_worker, allowed_failures)
        self.memory, self.ago = self.deaths.last_heard(last_worker) if self.deaths else (None, 0.0)

    def __str__(self) -> str:
        worker, task = self.last_worker, key_split(self.task)
        workers = "Each of the workers" if self.allowed_failures else "The worker"
        told = f"{workers} that ran a task of {task!r} died of it, {self.allowed_failures + 1} in all"
        told += f" (the task: {self.task}). The last one was {worker.name} at {worker.address}. "
        limit = worker.memory_limit
        if not limit:
            return f"{told}It has no limit of memory of its own. {super().__str__()}"
        told += f"Its limit is {format_bytes(limit)} of memory"
        if self.memory is not None:
            told += (
                f", and it had {format_bytes(self.memory)} when it was last heard of, {self.ago:.1f} s before its end"
            )
        full = self.memory is not None and self.memory >= NEARLY_FULL * limit
        told += (
            ". It died of memory" if full else ". A worker that needs more is ended at once, which is most likely why"
        )
        return (
            f"{told}: let a task hold less (smaller chunks, ds.chunk(…); fewer chunks joined at once by rechunk, "
            "sortby or a function over a whole axis), or give workers more (worker_memory=… of Gateway().new_cluster; "
            "Gateway().cluster_options() shows how much you may have)."
        )


class Deaths(SchedulerPlugin):
    """Knows of each worker what was last heard of it.

    Args:
        scheduler: whose workers they are.
    """

    name = "appliance-deaths"

    def __init__(self, scheduler: Scheduler):
        self._workers = {ws.server_id: ws for ws in scheduler.workers.values()}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Note a worker: Dask has forgotten it by the time that it makes the error."""
        ws = scheduler.workers[worker]
        self._workers[ws.server_id] = ws

    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **kwargs: Any) -> None:
        """Forget those that are gone. It is called after the errors were made."""
        del worker, stimulus_id, kwargs
        self._workers = {ws.server_id: ws for ws in scheduler.workers.values()}

    def last_heard(self, worker: WorkerState) -> tuple[int | None, float]:
        """Return a worker's memory when it was last heard of, in bytes, and how many s ago that was."""
        known = self._workers.get(worker.server_id)
        memory = known.metrics.get("memory") if known else None
        if known is None or memory is None:
            return None, 0.0
        return int(memory), max(0.0, time() - known.last_seen)


def add_to(scheduler: Scheduler) -> None:
    """Let a scheduler make these errors in place of Dask's; there is one scheduler in a process."""
    if not distributed_parts.complete(__name__):
        return
    KilledWorker.deaths = Deaths(scheduler)
    scheduler.add_plugin(KilledWorker.deaths)
    distributed.scheduler.KilledWorker = KilledWorker  # type: ignore[misc]
