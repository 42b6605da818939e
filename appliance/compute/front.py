"""What the locality queue holds: tasks, the hosts of their data, and the best of all tasks, which are the front."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Hashable
from heapq import heappop, heappush
from typing import Any


class Host:
    """What waits for one host. ``slots`` is 0 while it has no worker."""

    __slots__ = ("count", "dry", "heap", "name", "nbytes", "slots", "took", "waits")

    def __init__(self, name: str) -> None:
        self.name = name
        self.heap: Heap = []
        self.slots = 0
        self.count = 0  # queued tasks that it holds the data of
        self.nbytes = 0  # its share of their bytes
        self.waits: float | None = None  # since when it has found nothing near of its own
        self.dry = 0.0  # since when nothing of its own at all, or later than that
        self.took: float | None = None  # when it last took something all the same


class Entry:
    """A queued task: its key, the smaller priority first, its bytes, and the hosts that hold them."""

    __slots__ = ("hosts", "key", "near", "order", "priority", "queued", "share")

    def __init__(self, key: Hashable, priority: Any, order: int, nbytes: int, hosts: tuple[Host, ...]):
        self.key = key
        self.priority = priority
        self.order = order  # in which it came: of equal priorities the first is the best
        self.hosts = hosts
        self.share = nbytes // len(hosts) if hosts else 0  # bytes of backlog that it is to each holder
        self.queued = True
        self.near = False  # in the front of the queue


Item = tuple[Any, int, Entry]
Heap = list[Item]


class Front:
    """The best tasks of a queue, so many as its size says; ``Entry.near`` tells whether a task is one of them.

    Args:
        waiting: hosts that wait for one of theirs to come near; another holds this set and changes it.
    """

    def __init__(self, waiting: Collection[str]) -> None:
        self.woken: set[str] = set()  # hosts among those that wait for which one has come near
        self._waiting = waiting
        self._size = 0
        self._best: list[Item] = []  # sorted
        self._behind: Heap = []  # all others, and some that are gone

    def resize(self, size: int) -> None:
        """Let it be so many tasks; what is in it stays."""
        self._size = size
        self._fill()

    def add(self, item: Item) -> None:
        """A task has come to the queue."""
        best = self._best
        if len(best) >= self._size:
            if not best or best[-1] < item:
                heappush(self._behind, item)
                return
            last = best.pop()
            last[2].near = False
            heappush(self._behind, last)
        insort(best, item)
        self._is_near(item[2])

    def remove(self, entry: Entry) -> None:
        """A task that is near has left the queue."""
        del self._best[bisect_left(self._best, (entry.priority, entry.order))]
        if self._behind:
            self._fill()

    def clear(self) -> None:
        """Nothing is queued any more."""
        self._best.clear()
        self._behind.clear()

    def _fill(self) -> None:
        best, behind = self._best, self._behind
        while len(best) < self._size and behind:
            item = heappop(behind)
            if item[2].queued:
                best.append(item)  # the best of those behind is worse than all that is there
                self._is_near(item[2])

    def _is_near(self, entry: Entry) -> None:
        entry.near = True
        if self._waiting:
            names = {host.name for host in entry.hosts} or self._waiting
            self.woken.update(name for name in names if name in self._waiting)
