"""Scheduler plugin: each task that reads goes to a host that holds what it reads, evenly over the replicas.

How a task is steered. When a graph arrives, after its optimisation and before the first task moves, the plugin finds
the objects that each task reads and asks the placement map for their hosts in bulk. The tasks then wait where they
always wait, in the scheduler's queue of root-ish tasks, so that workers never hold more of them than in stock Dask.
Only who gets which of them is decided by ``appliance.compute.scheduling.host_queue``. While a task is assigned to a
worker it is restricted to the hosts that hold its objects: work stealing may move it among these and nowhere else.

Locality is a preference: without a map, without a worker on any of the hosts, or when something here fails, tasks run
where the stock scheduler puts them. Tasks that carry restrictions of the user's own are left alone, and so is work
that reads nothing. Where this version of distributed lacks a part that the queue needs, tasks are restricted loosely
instead, which is less even and takes more memory, and the log says so once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from appliance.compute.scheduling.atlas import Atlas
from appliance.compute.scheduling.expectations import Expectations
from appliance.compute.scheduling.places import Objects, Place, PlaceFinder
from appliance.compute.scheduling.rootish import RootishQueue, missing_parts

if TYPE_CHECKING:
    from dask._task_spec import GraphNode
    from dask.typing import Key
    from distributed.scheduler import Scheduler, TaskState

    from appliance.compute.scheduling.task_reads import TaskReads

logger = logging.getLogger("distributed.scheduler.appliance")

NAME = "appliance-locality"
REFRESH = 3.0  # s between two looks at the map while tasks are queued
STEERED = 8192  # tasks whose objects are looked up at a time
BATCH = 1000  # tasks placed anew at a time: some 10 ms of the event loop
MEASURED = 4  # of so many tasks the length of one is looked at: a mean needs no more
ANYWHERE = "Tasks run without regard to where their data is"
KEPT = "Tasks keep their places, though the map or the workers may have changed"
WAITING = ("released", "waiting", "queued", "no-worker")  # states of a task that is on no worker


class LocalityPlugin(SchedulerPlugin):
    """Steers reading tasks to the hosts of their objects.

    Args:
        scheduler: the scheduler that the plugin is added to.
        atlas: where the placement maps come from; None steers nothing.
        refresh: seconds between two looks at the map while tasks are queued.
        clock: the time in seconds, as the scheduler's loop has it.
        expectations: where the plugin notes what it expects of tasks' reads.

    Attributes:
        places: the place of each task that is steered, until it is forgotten.
        expectations: see above.
        placed_anew: how often queued tasks were placed by another map.
        queue: the locality queue; None where this version of distributed lacks a part that it needs.
    """

    name = NAME

    def __init__(
        self,
        scheduler: Scheduler,
        atlas: Atlas | None,
        refresh: float = REFRESH,
        clock: Callable[[], float] = time.monotonic,
        expectations: Expectations | None = None,
    ):
        self.scheduler = scheduler
        self.refresh = refresh
        self.places: dict[Key, Place] = {}
        self.expectations = expectations or Expectations()
        self.placed_anew = 0
        self._atlas = atlas
        self._finder = PlaceFinder(atlas) if atlas is not None else None
        self._logged: set[str] = set()
        self._watch: asyncio.Future[None] | None = None
        self._hosts = {ws.host for ws in scheduler.running}
        self._finished = 0
        self.queue: RootishQueue | None = None
        if missing := missing_parts(scheduler):
            logger.warning(
                "This scheduler's queue cannot be made aware of hosts, as it lacks: %s. Tasks are restricted loosely "
                "instead: their reads are less often local, less even, and more of them are on the workers at a time.",
                ", ".join(missing),
            )
        else:
            self.queue = RootishQueue(scheduler, self.places.get, clock)
            self.queue.install()

    # What distributed calls

    def update_graph(self, scheduler: Scheduler, *, tasks: list[Key], **_: Any) -> None:
        """Find the places of a new graph's tasks, before the first of them moves."""
        if self._finder is None:
            return
        try:
            # In any other state than these two, a task is steered already or beyond it.
            self._steer(ts for key in tasks if (ts := scheduler.tasks.get(key)) and ts.state in ("released", "waiting"))
        except Exception as error:  # the stock scheduler goes on
            self._log_once(ANYWHERE, error)

    def transition(self, key: Key, start: str, finish: str, *_: Any, **details: Any) -> None:
        """Tell the queue of tasks that leave it, and keep assigned tasks on the hosts of their data."""
        if self.queue is not None:
            if start == "queued":
                self.queue.left(key)
            if finish == "processing":
                self._assigned(key)
            elif finish == "queued" and self._watch is None:
                self._watch_the_map()
        if start == "processing":
            self._left_its_worker(key, finish, details)
        if finish == "forgotten":
            self.places.pop(key, None)

    def _assigned(self, key: Key) -> None:
        place = self.places.get(key)
        if place is not None:
            ts = self.scheduler.tasks[key]
            if not (ts.host_restrictions or ts.worker_restrictions):
                ts.host_restrictions = place.restriction

    def _left_its_worker(self, key: Key, finish: str, details: Mapping[str, Any]) -> None:
        place = self.places.get(key)
        if place is None:
            return
        if self.queue is not None:
            ts = self.scheduler.tasks[key]
            if ts.host_restrictions is place.restriction:
                ts.host_restrictions = None  # or it would not be root-ish when it has to run again
            if finish == "memory":
                self._finished += 1
                if self._finished % MEASURED == 0:
                    self._measure(place, **details)
        if finish == "memory":
            self.expectations.note(place, self.scheduler.workers.get(details.get("worker", "")), self._hosts)

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:  # noqa: ARG002 - distributed's signature
        """Look at the hosts anew: a worker has come."""
        self._workers_changed(scheduler)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:  # noqa: ARG002
        """Look at the hosts anew: a worker has gone."""
        self._workers_changed(scheduler)

    async def before_close(self) -> None:
        """Stop, as the scheduler ends."""
        self.stop()

    def stop(self) -> None:
        """Leave the scheduler as it was without this plugin."""
        if self.queue is not None:
            self.queue.uninstall()
        if self._watch is not None:
            self._watch.cancel()
        if self._atlas is not None:
            self._atlas.close()

    # Steering

    def _steer(self, tasks: Iterable[TaskState]) -> None:
        if self._finder is None:
            return
        reading = (ts for ts in tasks if _is_reading(ts) and _is_free(ts))
        task_reads = None
        present = {ws.host for ws in self.scheduler.running}
        # In turns, so that what is known of their objects is gone before the next ones come.
        while fresh := {ts.key: ts for ts in itertools.islice(reading, STEERED)}:
            task_reads = task_reads or self._new_task_reads()
            for key, place in self._finder.find(self._reads_of(fresh, task_reads), present).items():
                self.places[key] = place
                if self.queue is None:
                    fresh[key].host_restrictions = place.restriction
                    fresh[key].loose_restrictions = True
                elif fresh[key].state == "queued":
                    self.queue.place_anew(fresh[key])

    def _new_task_reads(self) -> TaskReads:
        # Here, as it imports dask.array: a scheduler without work has no use for it, and starts a second sooner.
        from appliance.compute.scheduling.task_reads import TaskReads

        def lookup(key: Key) -> GraphNode | None:
            ts = self.scheduler.tasks.get(key)
            return ts.run_spec if ts is not None else None

        return TaskReads(lookup)

    def _reads_of(self, fresh: Mapping[Key, TaskState], task_reads: TaskReads) -> dict[Key, Objects]:
        from appliance.compute.scheduling.zarr_source import UnknownReadError

        wanted: dict[Key, Objects] = {}
        for key, ts in fresh.items():
            try:
                objects = task_reads.ranges(ts.run_spec)
            except UnknownReadError:
                continue
            except Exception as error:  # one odd task must not cost the others their places
                self._log_once(f"{ANYWHERE} (of some the reads are not understood)", error)
                continue
            if objects:
                wanted[key] = objects
        return wanted

    def _measure(self, place: Place, worker: str = "", startstops: Iterable[Any] = (), **_: Any) -> None:
        """Tell the queue how long a task took."""
        ws = self.scheduler.workers.get(worker)
        seconds = sum(part["stop"] - part["start"] for part in startstops if part["action"] == "compute")
        if ws is not None and seconds > 0.0 and self.queue is not None:
            self.queue.queue.observe(seconds, ws.host in place.hosts)

    # A map or a cluster that changes while tasks are queued

    def _workers_changed(self, scheduler: Scheduler) -> None:
        before, self._hosts = self._hosts, {ws.host for ws in scheduler.running}
        if self.queue is None:
            return
        self.queue.workers_changed()
        if self._hosts != before:
            # Tasks of several objects may now be better off elsewhere.
            self._steer_guarded(
                ts for ts in list(scheduler.queued) if (place := self.places.get(ts.key)) is not None and place.mixed
            )

    def _steer_guarded(self, tasks: Iterable[TaskState]) -> None:
        try:
            self._steer(tasks)
        except Exception as error:
            self._log_once(KEPT, error)

    def _watch_the_map(self) -> None:
        if self._atlas is None or self.queue is None:
            return
        try:
            self._watch = asyncio.ensure_future(self._refresh_places())
        except RuntimeError as error:  # no event loop: a scheduler that is driven by hand
            self._log_once(KEPT, error)

    async def _refresh_places(self) -> None:
        """While tasks are queued, look whether the map has changed, and place anew what has not run yet."""
        try:
            while self.scheduler.queued and self._atlas is not None and self._finder is not None:
                await asyncio.sleep(self.refresh)
                try:
                    if self.scheduler.queued and await self._atlas.changed(tuple(self._finder.buckets)):
                        await self._place_anew()
                except Exception as error:  # also of an answer that is no map; the tasks keep their places
                    self._log_once(KEPT, error)
        finally:
            self._watch = None

    async def _place_anew(self) -> None:
        self.placed_anew += 1
        start = time.monotonic()
        keys = {ts.key for ts in self.scheduler.queued} | self.places.keys()
        waiting = [key for key in keys if (ts := self.scheduler.tasks.get(key)) and ts.state in WAITING]
        for first in range(0, len(waiting), BATCH):
            tasks = (self.scheduler.tasks.get(key) for key in waiting[first : first + BATCH])
            self._steer(ts for ts in tasks if ts is not None and ts.state in WAITING)
            await asyncio.sleep(0)  # others have a turn
        logger.info("The map has changed: placed %d tasks anew in %.2f s", len(waiting), time.monotonic() - start)

    def _log_once(self, what: str, error: Exception) -> None:
        """Log the first failure of a kind only: a scheduler runs millions of tasks."""
        if what not in self._logged:
            self._logged.add(what)
            logger.warning("%s: %r", what, error, exc_info=error)


def _is_reading(ts: TaskState) -> bool:
    return ts.run_spec is not None and getattr(ts.run_spec, "data_producer", False)


def _is_free(ts: TaskState) -> bool:
    return not (ts.host_restrictions or ts.worker_restrictions or ts.resource_restrictions or ts.actor)
