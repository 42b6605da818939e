"""The scheduler's queue of root-ish tasks, made aware of hosts.

distributed keeps tasks that start a graph in ``scheduler.queued`` while all workers are busy, and gives a free slot the
best of them, whatever its host. This module lets ``HostQueue`` choose instead. Tasks remain root-ish and remain in
``scheduler.queued``, so that workers never hold more of them than ``worker-saturation`` allows, and everything else
that looks at the queue (adaptive scaling, the dashboard, the timeout without workers) sees what it always saw.

This touches private parts of distributed's scheduler (see ``appliance.compute.distributed_parts``). Written for
distributed 2026.8.0; ``missing_parts`` says what another version lacks.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from appliance.compute.scheduling.host_queue import HostQueue

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed.scheduler import RecsMsgs, Scheduler, TaskState, TaskStateState, WorkerState

    from appliance.compute.scheduling.places import Place

logger = logging.getLogger("distributed.scheduler.appliance")

TRANSITIONS: tuple[tuple[TaskStateState, TaskStateState], ...] = (
    ("waiting", "processing"),
    ("waiting", "queued"),
    ("queued", "processing"),
)


def missing_parts(scheduler: Scheduler) -> list[str]:
    """Return what this module needs of a scheduler and does not find; empty where the queue can be installed."""
    return list(_missing(scheduler))


def _missing(scheduler: Scheduler) -> Iterator[str]:
    table = getattr(scheduler, "_TRANSITIONS_TABLE", None)
    if not isinstance(table, Mapping) or not set(table).issuperset(TRANSITIONS):
        yield "_TRANSITIONS_TABLE"
    for name, taken in (
        ("_transition", "_TRANSITIONS_TABLE"),
        ("handle_task_finished", "stimulus_queue_slots_maybe_opened"),
        ("add_worker", "stimulus_queue_slots_maybe_opened"),
    ):
        code = getattr(inspect.unwrap(getattr(scheduler, name, None) or len), "__code__", None)
        if code is None or taken not in code.co_names:
            yield f"{name} (to use {taken})"
    for name, wanted in (
        ("_add_to_processing", {"ts", "ws", "stimulus_id"}),
        ("stimulus_queue_slots_maybe_opened", {"stimulus_id"}),
        ("transitions", {"recommendations", "stimulus_id"}),
        ("is_rootish", {"ts"}),
    ):
        method = getattr(scheduler, name, None)
        if not callable(method) or set(inspect.signature(method).parameters) != wanted:
            yield f"{name}({', '.join(sorted(wanted))})"
    for name in ("add", "discard", "__len__", "__iter__"):
        if not hasattr(getattr(scheduler, "queued", None), name):
            yield f"queued.{name}"
    for name in ("idle_task_count", "running"):
        if not isinstance(getattr(scheduler, name, None), set):
            yield f"{name} (a set)"
    # A user may have switched the queue off: then nothing is to be queued here either.
    if not math.isfinite(getattr(scheduler, "WORKER_SATURATION", math.inf)):
        yield "a finite distributed.scheduler.worker-saturation"


class RootishQueue:
    """Makes a scheduler's queue of root-ish tasks aware of hosts.

    Args:
        scheduler: one for which ``missing_parts`` names nothing.
        place_of: returns where a task's data is, by key; None for tasks that go anywhere.
        clock: the time in seconds.

    Attributes:
        queue: the locality queue that holds the same tasks as the scheduler's own.
        left: to be called with a task's key when the task is no longer queued.
    """

    def __init__(self, scheduler: Scheduler, place_of: Callable[[Key], Place | None], clock: Callable[[], float]):
        self.scheduler = scheduler
        self.queue: HostQueue[Key] = HostQueue()
        self.left = self.queue.discard
        self._place_of = place_of
        self._clock = clock
        self._workers: dict[str, list[WorkerState]] = {}
        self._running = -1  # workers that ran when they were last looked at
        self._chosen: WorkerState | None = None
        self._tick_due: float | None = None
        self._stock: Mapping[tuple[TaskStateState, TaskStateState], Callable[..., RecsMsgs]] = {}

    def install(self) -> None:
        """Take the place of the stock queue, in this scheduler only."""
        scheduler = self.scheduler
        self._stock = type(scheduler)._TRANSITIONS_TABLE
        mine = (self._waiting_processing, self._waiting_queued, self._queued_processing)
        table = {**self._stock, **dict(zip(TRANSITIONS, mine, strict=True))}
        # Of this scheduler alone, not of its class.
        scheduler._TRANSITIONS_TABLE = table  # type: ignore[misc]
        scheduler.stimulus_queue_slots_maybe_opened = self.open_slots  # type: ignore[method-assign]
        self._take_over()

    def uninstall(self) -> None:
        """Give the stock queue its place back. Queued tasks stay queued."""
        for name in ("_TRANSITIONS_TABLE", "stimulus_queue_slots_maybe_opened"):
            self.scheduler.__dict__.pop(name, None)
        for ts in list(self.scheduler.queued):
            self.queue.discard(ts.key)

    def workers_changed(self) -> None:
        """Look at the workers anew before the next decision."""
        self._running = -1

    def hosts(self) -> Mapping[str, list[WorkerState]]:
        """Return the running workers on each host, by the host's address."""
        if self._running != len(self.scheduler.running):
            workers: defaultdict[str, list[WorkerState]] = defaultdict(list)
            for ws in self.scheduler.running:
                workers[ws.host].append(ws)
            self._workers, self._running = dict(workers), len(self.scheduler.running)
            slots = {host: sum(ws.nthreads for ws in there) for host, there in workers.items()}
            self.queue.set_hosts(slots, self._clock())
        return self._workers

    def place_anew(self, ts: TaskState) -> None:
        """Queue a task again whose data has moved, if it is queued."""
        if ts.key in self.queue:
            self._push(ts)

    def open_slots(self, *, stimulus_id: str) -> None:
        """Give free slots the tasks that their hosts should run. Stands in for the scheduler's own method."""
        scheduler, queue = self.scheduler, self.queue
        idle = scheduler.idle_task_count
        if not idle or not scheduler.queued:
            return
        if self._running != len(scheduler.running):
            self.hosts()
        if len(queue) != len(scheduler.queued):
            self._take_over()
        now = self._clock()
        if queue.waiting:
            queue.only_idle({ws.host for ws in idle})
        given = True
        while given and queue and idle:
            given = False
            for ws in sorted(idle, key=_busy):
                # Giving a task away may have changed anything.
                if ws in idle and (key := queue.pop(ws.host, now)) is not None:
                    given = True
                    self._give(key, ws, stimulus_id)
        if queue.waiting:
            due = queue.next_due({ws.host for ws in idle}, now)
            if due is not None:
                self._tick_at(due)

    # Instead of the scheduler's own transitions

    def _waiting_processing(self, scheduler: Scheduler, key: Key, stimulus_id: str) -> RecsMsgs:
        place = self._place_of(key)
        ts = scheduler.tasks[key]
        if place is None or not ts._queueable or not scheduler.is_rootish(ts):
            return self._stock["waiting", "processing"](scheduler, key, stimulus_id)
        idle = scheduler.idle_task_count
        if idle:
            workers = self.hosts()
            free = [ws for host in place.hosts for ws in workers.get(host, ()) if ws in idle]
            if free:
                return scheduler._add_to_processing(ts, min(free, key=_busy), stimulus_id=stimulus_id)
        return {key: "queued"}, {}, {}

    def _waiting_queued(self, scheduler: Scheduler, key: Key, stimulus_id: str) -> RecsMsgs:  # noqa: ARG002 - its signature
        ts = scheduler.tasks[key]
        ts.state = "queued"
        scheduler.queued.add(ts)
        self._push(ts)
        if scheduler.idle_task_count:
            # A worker is idle, but not on a host of this task: nothing may happen that would make it be asked.
            self._tick_at(self._clock())
        return {}, {}, {}

    def _queued_processing(self, scheduler: Scheduler, key: Key, stimulus_id: str) -> RecsMsgs:
        ts, ws = scheduler.tasks[key], self._chosen
        if ws is None or ws not in scheduler.idle_task_count:
            return {}, {}, {}  # it stays queued; open_slots puts it back
        scheduler.queued.discard(ts)
        return scheduler._add_to_processing(ts, ws, stimulus_id=stimulus_id)

    # Inside

    def _give(self, key: Key, ws: WorkerState, stimulus_id: str) -> None:
        ts = self.scheduler.tasks.get(key)
        if ts is None or ts.state != "queued":
            return
        self._chosen = ws
        try:
            self.scheduler.transitions({key: "processing"}, stimulus_id)
        finally:
            self._chosen = None
        if ts.state == "queued":
            self._push(ts)

    def _push(self, ts: TaskState) -> None:
        place = self._place_of(ts.key)
        if place is None:
            self.queue.push(ts.key, ts.priority)
        else:
            self.queue.push(ts.key, ts.priority, place.nbytes, place.hosts)

    def _take_over(self) -> None:
        """Make the queue hold what the scheduler says is queued."""
        self.hosts()
        for ts in self.scheduler.queued:
            if ts.key not in self.queue:
                self._push(ts)

    def _tick_at(self, due: float) -> None:
        """Look at the free slots at a time at which no worker may send a message."""
        if self._tick_due is None or due < self._tick_due:
            self._tick_due = due
            self.scheduler.loop.call_later(max(0.0, due - self._clock()), self._tick, due)

    def _tick(self, due: float) -> None:
        if due != self._tick_due:
            return  # an earlier one has taken its place
        self._tick_due = None
        try:
            self.open_slots(stimulus_id=f"appliance-slots-{self._clock()}")
        except Exception:
            logger.exception("A free slot was given nothing")


def _busy(ws: WorkerState) -> float:
    """Return how busy a worker is, as the stock queue has it."""
    return float(len(ws.processing) / ws.nthreads)
