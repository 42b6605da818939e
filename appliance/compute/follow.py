"""Scheduler plugin: work on a chunk is done on the host where the chunk is in memory.

Reading on the right host is half of it. What was read is wanted by several tasks (a mean, a mask, a weighted sum), and
the stock scheduler sends these anywhere: where a task also wants something small that every worker holds (the weights),
every worker is a candidate, and one that is idle seems worth a transfer of megabytes. Work stealing does the same.
Measured on the rack before this plugin: a weighted mean sent 0.4 to 0.6 bytes over the cards for each byte read.

So: when a task's result is large, the tasks that wait for it are restricted to the hosts that hold it. A task that
wants large results of different hosts is left to the stock scheduler, and small results never tie anything.
"""

from __future__ import annotations

import logging
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

logger = logging.getLogger("distributed.scheduler.appliance")

LARGE = 2**14  # bytes of a result that is not to travel; below it, a transfer costs less than a restriction
PATIENCE = 3.0  # s that a task without a worker waits for one on the hosts of its data
ANYWHERE: frozenset[str] = frozenset()


class FollowPlugin(SchedulerPlugin):  # type: ignore[misc]  # distributed has no types
    """Restricts tasks to the hosts of the large results that they want.

    Args:
        scheduler: the scheduler that it is added to.
        patience: seconds that a restricted task without a worker keeps its restriction.
    """

    name = "appliance-follow"

    def __init__(self, scheduler: Any, patience: float = PATIENCE):
        self.scheduler = scheduler
        self.patience = patience
        # Tasks that have large inputs and have not run yet, with the hosts that hold all of these inputs.
        self.hosts: dict[Any, frozenset[str]] = {}
        self._restrictions: dict[frozenset[str], set[str]] = {}
        self._release_due = False
        self._failed = False

    def update_graph(self, scheduler: Any, *, tasks: list[Any], **_: Any) -> None:
        """Called before the first task of a new graph moves: what it wants may be in memory already (persisted)."""
        try:
            for key in tasks:
                ts = scheduler.tasks.get(key)
                if ts is None or ts.state not in ("released", "waiting"):
                    continue
                for wanted in ts.dependencies:
                    if wanted.who_has and wanted.nbytes >= LARGE:
                        self._tie(ts, _hosts(wanted))
        except Exception as error:  # the stock scheduler goes on
            self._say(error)

    def transition(self, key: Any, _start: str, finish: str, *_: Any, **__: Any) -> None:
        """Called when one task has moved, before those that wait for it do."""
        try:
            if finish in ("memory", "erred", "forgotten"):
                ts = self.scheduler.tasks.get(key)
                if self.hosts.pop(key, None) and ts is not None:
                    ts.host_restrictions = None  # a later run of it starts free
                if finish == "memory" and ts is not None and ts.nbytes >= LARGE:
                    here = _hosts(ts)
                    for follower in ts.dependents:
                        if follower.state == "waiting":
                            self._tie(follower, here)
            elif finish == "no-worker" and key in self.hosts:
                self._release_soon()
        except Exception as error:  # the stock scheduler goes on
            self._say(error)

    def _tie(self, follower: Any, here: frozenset[str]) -> None:
        """Restrict a task to those of the hosts ``here``, of one large input, that hold its other large inputs, too."""
        known = self.hosts.get(follower.key)
        if known is None:
            if not _free(follower):
                return
            known = here
        common = known & here
        self.hosts[follower.key] = common
        follower.host_restrictions = self._shared(common) if common else None

    def _shared(self, hosts: frozenset[str]) -> set[str]:
        """One set for all tasks of the same hosts."""
        return self._restrictions.setdefault(hosts, set(hosts))

    def _release_soon(self) -> None:
        if not self._release_due:
            self._release_due = True
            self.scheduler.loop.call_later(self.patience, self._release)

    def _release(self) -> None:
        """Free the tasks that still wait for a worker on hosts that have none any more."""
        self._release_due = False
        scheduler = self.scheduler
        for ts in list(scheduler.unrunnable):
            if ts.key in self.hosts:
                self.hosts[ts.key] = ANYWHERE
                ts.host_restrictions = None
        stimulus = f"appliance-release-{scheduler.loop.time()}"
        for worker in list(scheduler.running):
            scheduler.transitions(scheduler.bulk_schedule_unrunnable_after_adding_worker(worker), stimulus)

    def _say(self, error: Exception) -> None:
        """Log the first failure: a scheduler lives through millions of tasks."""
        if not self._failed:
            self._failed = True
            logger.warning("Work does not follow its data: %r", error, exc_info=error)


def _hosts(ts: Any) -> frozenset[str]:
    """The hosts that hold a result in memory."""
    return frozenset(worker.host for worker in ts.who_has)


def _free(ts: Any) -> bool:
    """Whether a task may be tied: it reads nothing itself (what reads is placed by that), and nobody tied it before."""
    reads = getattr(ts.run_spec, "data_producer", False)
    return not (reads or ts.host_restrictions or ts.worker_restrictions or ts.resource_restrictions or ts.actor)
