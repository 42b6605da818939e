"""Coassignment: work on a chunk is done on the host where the chunk is in memory.

Reading on the right host is half of it. A chunk that was read is used by several tasks (a mean, a mask, a weighted
sum), and the stock scheduler sends these anywhere: where a task also uses a small input that every worker holds (the
weights), every worker is a candidate, and one that is idle seems worth a transfer of megabytes. Work stealing does the
same. Measured on the rack before this plugin: a weighted mean sent 0.4 to 0.6 bytes over the network for each byte
read.

So: when all inputs of a task are there, and most of their bytes lie on one host, the task is restricted to that host
(or hosts, where there are copies). A task whose inputs lie on several hosts alike is left to the stock scheduler, and
small inputs never restrict a task.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed.scheduler import Scheduler, TaskState

logger = logging.getLogger("distributed.scheduler.appliance")

NAME = "appliance-coassignment"
LARGE_BYTES = 2**14  # of inputs that should not travel; below it, a transfer costs less than a restriction
MAJORITY = 2 / 3  # of a task's input that a host must hold to get the task: at most half of that has to travel
LOCALITY_WAIT = 3.0  # s that a task without a worker waits for one on the hosts of its data


class CoassignmentPlugin(SchedulerPlugin):
    """Restricts tasks to the hosts of their large inputs.

    Args:
        scheduler: the scheduler that the plugin is added to.
        locality_wait: seconds that a restricted task without a worker keeps its restriction.

    Attributes:
        hosts: by key, the restriction of each task that was restricted and has not run yet.
    """

    name = NAME

    def __init__(self, scheduler: Scheduler, locality_wait: float = LOCALITY_WAIT):
        self.scheduler = scheduler
        self.locality_wait = locality_wait
        self.hosts: dict[Key, set[str]] = {}
        self._restrictions: dict[frozenset[str], set[str]] = {}
        self._lift_due = False
        self._failed = False

    def transition(self, key: Key, start: str, finish: str, *_: Any, **__: Any) -> None:  # noqa: ARG002
        """Restrict the dependents of a task that has finished. distributed calls this some ten times for each task."""
        try:
            if finish == "memory":
                if self.hosts:
                    self._lift(key)
                ts = self.scheduler.tasks.get(key)
                if ts is not None:
                    small = ts.nbytes < LARGE_BYTES
                    for dependent in ts.dependents:
                        if not (dependent.waiting_on or (small and len(dependent.dependencies) == 1)):
                            self._restrict(dependent)
            elif finish == "waiting":
                ts = self.scheduler.tasks[key]
                if ts.dependencies and not ts.waiting_on:  # its inputs may be in memory already (persisted)
                    self._restrict(ts)
            elif self.hosts and finish in ("released", "erred", "forgotten"):
                self._lift(key)
            elif finish == "no-worker" and key in self.hosts:
                self._lift_later()
        except Exception as error:  # the stock scheduler goes on
            self._log_once(error)

    def _restrict(self, dependent: TaskState) -> None:
        """Restrict a task whose inputs are all there to the hosts that hold most of their bytes."""
        if dependent.state != "waiting" or not _is_free(dependent):
            return
        total = 0
        held: dict[str, int] = {}
        for dependency in dependent.dependencies:
            total += dependency.nbytes
            for host in {worker.host for worker in dependency.who_has or ()}:
                held[host] = held.get(host, 0) + dependency.nbytes
        if total < LARGE_BYTES:
            return
        hosts = frozenset(host for host, nbytes in held.items() if nbytes >= MAJORITY * total)
        if hosts:
            # One set for all tasks of the same hosts.
            restriction = self._restrictions.setdefault(hosts, set(hosts))
            dependent.host_restrictions = self.hosts[dependent.key] = restriction

    def _lift(self, key: Key) -> None:
        """Lift a task's restriction: where it runs again, its inputs may lie on other hosts."""
        if self.hosts.pop(key, None) is not None:
            ts = self.scheduler.tasks.get(key)
            if ts is not None:
                ts.host_restrictions = None

    def _lift_later(self) -> None:
        if not self._lift_due:
            self._lift_due = True
            self.scheduler.loop.call_later(self.locality_wait, self._lift_all)

    def _lift_all(self) -> None:
        """Free the tasks that still wait for a worker on hosts that have none any more."""
        self._lift_due = False
        scheduler = self.scheduler
        for ts in list(scheduler.unrunnable):
            self._lift(ts.key)
        stimulus = f"appliance-lift-{scheduler.loop.time()}"
        for worker in list(scheduler.running):
            scheduler.transitions(scheduler.bulk_schedule_unrunnable_after_adding_worker(worker), stimulus)

    def _log_once(self, error: Exception) -> None:
        """Log the first failure only: a scheduler runs millions of tasks."""
        if not self._failed:
            self._failed = True
            logger.warning("Work is not done where its inputs are: %r", error, exc_info=error)


def _is_free(ts: TaskState) -> bool:
    """Return whether a task may be restricted: it reads nothing itself, and nobody has restricted it before."""
    reads = getattr(ts.run_spec, "data_producer", False)
    return not (reads or ts.host_restrictions or ts.worker_restrictions or ts.resource_restrictions or ts.actor)
