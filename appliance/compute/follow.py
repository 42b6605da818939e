"""Scheduler plugin: work on a chunk is done on the host where the chunk is in memory.

Reading on the right host is half of it. What was read is wanted by several tasks (a mean, a mask, a weighted sum), and
the stock scheduler sends these anywhere: where a task also wants something small that every worker holds (the weights),
every worker is a candidate, and one that is idle seems worth a transfer of megabytes. Work stealing does the same.
Measured on the rack before this plugin: a weighted mean sent 0.4 to 0.6 bytes over the cards for each byte read.

So: when all that a task wants is there, and most of its bytes lie on one host, the task is restricted to that host (or
hosts, where there are copies). A task whose inputs lie on several hosts alike is left to the stock scheduler, and small
inputs never tie anything.
"""

from __future__ import annotations

import logging
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

logger = logging.getLogger("distributed.scheduler.appliance")

LARGE = 2**14  # bytes of inputs that are not to travel; below it, a transfer costs less than a restriction
MOST = 2 / 3  # of a task's input that a host must hold to draw it: at most half of what stays has to travel
PATIENCE = 3.0  # s that a task without a worker waits for one on the hosts of its data


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
        self.hosts: dict[Any, set[str]] = {}  # tasks that were restricted and have not run yet
        self._restrictions: dict[frozenset[str], set[str]] = {}
        self._release_due = False
        self._failed = False

    def transition(self, key: Any, _start: str, finish: str, *_: Any, **__: Any) -> None:
        """Called when one task has moved, before those that wait for it do. Some ten times for each task: so short."""
        try:
            if finish == "memory":
                if self.hosts:
                    self._untie(key)
                ts = self.scheduler.tasks.get(key)
                if ts is not None:
                    small = ts.nbytes < LARGE
                    for follower in ts.dependents:
                        if not (follower.waiting_on or (small and len(follower.dependencies) == 1)):
                            self._tie(follower)
            elif finish == "waiting":
                ts = self.scheduler.tasks[key]
                if ts.dependencies and not ts.waiting_on:  # what it wants may be in memory already (persisted)
                    self._tie(ts)
            elif self.hosts and finish in ("released", "erred", "forgotten"):
                self._untie(key)
            elif finish == "no-worker" and key in self.hosts:
                self._release_soon()
        except Exception as error:  # the stock scheduler goes on
            self._say(error)

    def _tie(self, follower: Any) -> None:
        """Restrict a task for which nothing is missing any more to the hosts that hold most of what it wants."""
        if follower.state != "waiting" or not _free(follower):
            return
        total = 0
        held: dict[str, int] = {}
        for wanted in follower.dependencies:
            total += wanted.nbytes
            for host in {worker.host for worker in wanted.who_has}:
                held[host] = held.get(host, 0) + wanted.nbytes
        if total < LARGE:
            return
        hosts = frozenset(host for host, nbytes in held.items() if nbytes >= MOST * total)
        if hosts:
            follower.host_restrictions = self.hosts[follower.key] = self._shared(hosts)

    def _untie(self, key: Any) -> None:
        """Forget a task's restriction: where it runs anew, its inputs may lie elsewhere."""
        if self.hosts.pop(key, None) is not None:
            ts = self.scheduler.tasks.get(key)
            if ts is not None:
                ts.host_restrictions = None

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
            self._untie(ts.key)
        stimulus = f"appliance-release-{scheduler.loop.time()}"
        for worker in list(scheduler.running):
            scheduler.transitions(scheduler.bulk_schedule_unrunnable_after_adding_worker(worker), stimulus)

    def _say(self, error: Exception) -> None:
        """Log the first failure: a scheduler lives through millions of tasks."""
        if not self._failed:
            self._failed = True
            logger.warning("Work does not follow its data: %r", error, exc_info=error)


def _free(ts: Any) -> bool:
    """Whether a task may be tied: it reads nothing itself (what reads is placed by that), and nobody tied it before."""
    reads = getattr(ts.run_spec, "data_producer", False)
    return not (reads or ts.host_restrictions or ts.worker_restrictions or ts.resource_restrictions or ts.actor)
