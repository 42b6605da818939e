"""The locality queue: which queued task a free slot takes. Delay scheduling with a lookahead.

Pure: no Dask, no sockets, no clock of its own. The scheduler's adapter and the simulator run this same code.

Each host has a heap of the tasks whose data it holds. A task is in the heaps of all its holders, and the holder that
has a free slot first takes it. So the load spreads over the replicas by itself, and a slow host takes less. Taking a
task removes it from one heap; its items in other heaps are dropped when they come to the top (lazy deletion).

Lookahead. Results stay in memory until the results that they are joined with are there, so tasks should run about in
the order of their priority. The best ``LOOKAHEAD_PER_HOST`` tasks for each host are the lookahead. A host that holds
none of them is ahead of the others: they have taken the tasks that it shares with them. It waits until one of its
tasks enters the lookahead, which takes the others less than the length of a task, or until its locality wait ends. A
task that it alone holds it takes at once, as nobody else will. (With two replicas on six hosts, at most 11 tasks
overtake others instead of 20, for half a per cent of time. With three replicas it is 11 in either case.)

Locality wait. A host that holds no queued task at all takes a foreign task, from the host with the longest backlog,
but not at once: most such waits end by themselves, and the foreign task would have cost a transfer for nothing.
(Measured with a groupby: 0.89 of the reads are local when foreign tasks are taken at once, 1.00 after a wait, in equal
time.) The wait follows the length of the tasks. A host waits once, and then takes one foreign task after the other
until it has work of its own again. A foreign task that takes longer than leaving it where it is, or that saves next to
nothing, is not taken before ``IDLE_MAX``; after that it is taken in any case, so that no host is idle for longer.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar

from appliance.compute.scheduling.lookahead import Heap, HostBacklog, Lookahead, QueuedTask

LOOKAHEAD_PER_HOST = 2  # tasks for each host in the lookahead: makes two replicas as orderly as three
WAIT_LENGTHS = 2.0  # task lengths of the locality wait: about what a busy host needs to free a slot
REMOTE_LENGTHS = 5.0  # task lengths that a foreign task takes, while none was measured: as over a card of 1 Gbit/s
BACKLOG_MIN = 1.0  # s of backlog below which a foreign task is not worth a transfer: its host will soon be done
WAIT_UNKNOWN = 0.1  # s of the locality wait while the length of no task is known
WAIT_MIN = 0.05  # s; below it, messages between worker and scheduler take longer than tasks
WAIT_MAX = 1.0  # s
IDLE_MAX = 3.0  # s after which an idle host takes a foreign task even where its own host would be as quick
HOSTS_SETTLE = 1.0  # s after hosts came or went in which tasks without a host wait: theirs may be about to come
SMOOTHING = 0.1  # weight of the newest task in the mean length


K = TypeVar("K", bound=Hashable)  # a task's key


class HostQueue(Generic[K]):
    """Queued tasks, by the hosts that hold what they read. Times are seconds of any one clock.

    Attributes:
        foreign: number of tasks that were given to hosts that do not hold their data.
        waiting: names of the hosts that wait for a task of their own.
    """

    def __init__(self) -> None:
        self.foreign = 0
        self.waiting: set[str] = set()
        self._tasks: dict[K, QueuedTask] = {}
        self._hosts: dict[str, HostBacklog] = {}
        self._holders: dict[tuple[str, ...], tuple[HostBacklog, ...]] = {}  # many tasks have the same hosts
        self._anywhere: Heap = []  # tasks of which nobody knows where their data is, or that read nothing
        self._orphans: Heap = []  # tasks none of whose hosts has a worker
        self._lookahead = Lookahead(self.waiting)
        self._settled_at = float("-inf")
        self._order = 0
        self._length: float | None = None  # s of a task that reads locally
        self._remote_length: float | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._tasks

    # Hosts

    def set_hosts(self, slots: dict[str, int], now: float) -> None:
        """Set which hosts have workers, with the slots of each. The tasks of hosts that are gone stay queued."""
        gone = [name for name, host in self._hosts.items() if host.slots and not slots.get(name)]
        new = [name for name, number in slots.items() if number and not self._host(name).slots]
        for name, number in slots.items():
            self._host(name).slots = number
        for name in gone:
            host = self._hosts[name]
            host.slots = 0
        self._end_waits(gone)
        for name in gone:
            for item in self._hosts[name].heap:
                if item[2].queued and _is_orphan(item[2]):
                    heappush(self._orphans, item)
        if gone or new:
            self._settled_at = now + HOSTS_SETTLE
        self._lookahead.resize(LOOKAHEAD_PER_HOST * sum(host.slots > 0 for host in self._hosts.values()))

    # Tasks

    def push(self, key: K, priority: Any, nbytes: int = 0, hosts: tuple[str, ...] = ()) -> None:
        """Queue a task, or queue it again with other hosts.

        Args:
            key: the task's key.
            priority: of any type that can be compared; the smallest is the best.
            nbytes: bytes that it reads.
            hosts: addresses of the hosts that hold these bytes; without any, the task goes to any free slot.
        """
        if key in self._tasks:
            self.discard(key)
        self._order += 1
        holders = self._holders.get(hosts)
        if holders is None:
            holders = self._holders[hosts] = tuple(self._host(name) for name in hosts)
        task = self._tasks[key] = QueuedTask(key, priority, self._order, nbytes, holders)
        item = (priority, self._order, task)
        present = False
        for host in holders:
            heappush(host.heap, item)
            host.count += 1
            host.nbytes += task.backlog_bytes
            present = present or host.slots > 0
        if not present:
            heappush(self._orphans if holders else self._anywhere, item)
        self._lookahead.add(item)

    def discard(self, key: K) -> None:
        """Remove a task, if it is queued."""
        task = self._tasks.pop(key, None)
        if task is not None:
            self._remove(task)

    def _remove(self, task: QueuedTask) -> None:
        task.queued = False
        if task.in_lookahead:
            self._lookahead.remove(task)
        for host in task.hosts:
            host.count -= 1
            host.nbytes -= task.backlog_bytes
            if not host.count:
                host.heap.clear()
        if not self._tasks:
            self._anywhere.clear()
            self._orphans.clear()
            self._lookahead.clear()
            self._end_waits(list(self.waiting))

    def pop(self, name: str, now: float) -> K | None:
        """Take the task that a free slot of a host runs now.

        Returns:
            the task's key; None where there is no task, or none yet.
        """
        host = self._hosts.get(name) or self._host(name)
        best = self._top(host.heap)
        if self._anywhere:
            best = self._better(best, self._top(self._anywhere))
        if self._orphans and now >= self._settled_at:
            best = self._better(best, self._best_orphan())
        if best is not None and (best.in_lookahead or not _is_shared(best)):
            if host.wait_began is not None:
                self._end_waits((name,))
        elif self._tasks:
            if host.wait_began is None:
                host.wait_began = host.idle_since = now
                self.waiting.add(name)
            if best is not None:
                host.idle_since = now
                if now - host.wait_began < self.locality_wait:
                    return None
            elif now - host.idle_since >= self.locality_wait:
                began = host.idle_since if host.last_foreign is None else host.last_foreign
                best = self._best_orphan() or self._best_foreign(now - began)
                self.foreign += best is not None
            if best is not None:
                host.last_foreign = now
        if best is None:
            return None
        key: K = best.key
        del self._tasks[key]
        self._remove(best)
        return key

    def only_idle(self, names: Collection[str]) -> None:
        """Set which hosts have a free slot. All others have other work now, and no longer wait."""
        if self.waiting:
            busy = [name for name in self.waiting if name not in names and self._hosts[name].last_foreign is None]
            self._end_waits(busy)

    def next_due(self, names: Iterable[str], now: float) -> float | None:
        """Return when one of these hosts, which just got no task, may get one.

        Returns:
            a time; None where there is no task to get.
        """
        if not self._tasks:
            return None
        due = [self._due(host, now) for name in names if (host := self._host(name)).wait_began is not None]
        return min(due, default=None)

    @property
    def ready_hosts(self) -> set[str]:
        """The waiting hosts of which a task has entered the lookahead since; a caller takes out whom it has asked."""
        return self._lookahead.ready_hosts

    # Measured

    def observe(self, seconds: float, local: bool) -> None:
        """Note how long a task took.

        Args:
            seconds: its length.
            local: whether it ran on a host of its data.
        """
        if local:
            self._length = _smoothed(self._length, seconds)
        else:
            self._remote_length = _smoothed(self._remote_length, seconds)

    @property
    def locality_wait(self) -> float:
        """Seconds that a host waits for a task of its own before it takes another."""
        if self._length is None:
            return WAIT_UNKNOWN
        return min(max(WAIT_LENGTHS * self._length, WAIT_MIN), WAIT_MAX)

    # Inside

    def _host(self, name: str) -> HostBacklog:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = HostBacklog(name)
        return host

    @staticmethod
    def _top(heap: Heap) -> QueuedTask | None:
        while heap:
            task = heap[0][2]
            if task.queued:
                return task
            heappop(heap)
        return None

    @staticmethod
    def _better(one: QueuedTask | None, other: QueuedTask | None) -> QueuedTask | None:
        if one is None or (other is not None and other.priority < one.priority):
            return other
        return one

    def _best_orphan(self) -> QueuedTask | None:
        while task := self._top(self._orphans):
            if _is_orphan(task):
                return task
            heappop(self._orphans)  # one of its hosts has come: the task is in that host's heap
        return None

    def _best_foreign(self, waited: float) -> QueuedTask | None:
        """Return the best task of the host with the longest backlog for its slots, if taking it is worth it."""
        longest, busiest = -1.0, None
        for host in self._hosts.values():
            if host.slots and host.count and host.nbytes / host.slots > longest:
                longest, busiest = host.nbytes / host.slots, host
        if busiest is None:
            return None
        if self._length is not None and waited < IDLE_MAX:
            backlog = busiest.count / busiest.slots * self._length  # s until that host begins its last task
            if backlog < max(BACKLOG_MIN, self._remote_length or REMOTE_LENGTHS * self._length):
                return None
        return self._top(busiest.heap)

    def _due(self, host: HostBacklog, now: float) -> float:
        last = (host.idle_since if host.last_foreign is None else host.last_foreign) + IDLE_MAX
        began = host.idle_since if host.wait_began is None else host.wait_began
        wait = self.locality_wait
        later = [due for due in (began + wait, host.idle_since + wait, last, self._settled_at) if due > now]
        return min(later, default=now + wait)

    def _end_waits(self, names: Iterable[str]) -> None:
        for name in names:
            host = self._hosts[name]
            host.wait_began = host.last_foreign = None
            self.waiting.discard(name)
            self._lookahead.ready_hosts.discard(name)


def _is_shared(task: QueuedTask) -> bool:
    """Return whether several hosts may take a task: only then others may have overtaken this host."""
    return sum(host.slots > 0 for host in task.hosts) > 1


def _is_orphan(task: QueuedTask) -> bool:
    return not any(host.slots for host in task.hosts)


def _smoothed(mean: float | None, value: float) -> float:
    return value if mean is None else mean + SMOOTHING * (value - mean)
