"""The lookahead of the locality queue: the best tasks of all that are queued, and the tasks of each host."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection
from heapq import heappop, heappush
from typing import Any


class HostBacklog:
    """The queued tasks whose data one host holds.

    Attributes:
        name: the host's address.
        heap: its tasks, the best first; tasks that have left the queue may still be in it.
        slots: tasks that its workers run at a time; 0 while it has no worker.
        count: queued tasks whose data it holds.
        nbytes: its share of their bytes.
        wait_began: when it began to wait for a task of its own in the lookahead; None while it does not wait.
        idle_since: since when it has had no task of its own at all, or later.
        last_foreign: when it last took a task that it had to wait for; None if it took none during this wait.
    """

    __slots__ = ("count", "heap", "idle_since", "last_foreign", "name", "nbytes", "slots", "wait_began")

    def __init__(self, name: str) -> None:
        self.name = name
        self.heap: Heap = []
        self.slots = 0
        self.count = 0
        self.nbytes = 0
        self.wait_began: float | None = None
        self.idle_since = 0.0
        self.last_foreign: float | None = None


class QueuedTask:
    """A queued task.

    Attributes:
        key: the task's key.
        priority: the smaller one is the better one.
        order: number in the order of arrival; of equal priorities the first is the best.
        hosts: the hosts that hold its data.
        backlog_bytes: bytes that it adds to the backlog of each of these hosts.
        queued: whether it is still in the queue.
        in_lookahead: whether it is one of the best tasks of the queue.
    """

    __slots__ = ("backlog_bytes", "hosts", "in_lookahead", "key", "order", "priority", "queued")

    def __init__(self, key: Any, priority: Any, order: int, nbytes: int, hosts: tuple[HostBacklog, ...]):
        self.key = key
        self.priority = priority
        self.order = order
        self.hosts = hosts
        self.backlog_bytes = nbytes // len(hosts) if hosts else 0
        self.queued = True
        self.in_lookahead = False


Item = tuple[Any, int, QueuedTask]  # priority, order and task: what heaps are sorted by
Heap = list[Item]


class Lookahead:
    """The best tasks of a queue, as many as its size says. ``QueuedTask.in_lookahead`` tells which tasks are in it.

    Args:
        waiting: names of the hosts that wait for a task of theirs; the queue owns this set and changes it.

    Attributes:
        ready_hosts: waiting hosts of which a task has entered the lookahead since.
    """

    def __init__(self, waiting: Collection[str]) -> None:
        self.ready_hosts: set[str] = set()
        self._waiting = waiting
        self._size = 0
        self._best: list[Item] = []  # sorted
        self._behind: Heap = []  # all others, and some that have left the queue

    def resize(self, size: int) -> None:
        """Set the number of tasks; tasks that are in the lookahead stay in it."""
        self._size = size
        self._fill()

    def add(self, item: Item) -> None:
        """Add a task that has come to the queue."""
        best = self._best
        if len(best) >= self._size:
            if not best or best[-1] < item:
                heappush(self._behind, item)
                return
            last = best.pop()
            last[2].in_lookahead = False
            heappush(self._behind, last)
        insort(best, item)
        self._enter(item[2])

    def remove(self, task: QueuedTask) -> None:
        """Remove a task of the lookahead, which has left the queue."""
        del self._best[bisect_left(self._best, (task.priority, task.order))]
        if self._behind:
            self._fill()

    def clear(self) -> None:
        """Remove all tasks: the queue is empty."""
        self._best.clear()
        self._behind.clear()

    def _fill(self) -> None:
        best, behind = self._best, self._behind
        while len(best) < self._size and behind:
            item = heappop(behind)
            if item[2].queued:
                best.append(item)  # the best task behind is worse than all that are in the lookahead
                self._enter(item[2])

    def _enter(self, task: QueuedTask) -> None:
        task.in_lookahead = True
        if self._waiting:
            names = {host.name for host in task.hosts} or self._waiting
            self.ready_hosts.update(name for name in names if name in self._waiting)
