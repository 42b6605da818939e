"""Which queued task a free slot takes: the best of those whose data is on its host, or another's when that is due.

Pure: no Dask, no sockets, no clock of its own. The scheduler's adapter and the simulator run this same code.

Each host has a heap of the tasks whose data it holds; a task is in the heaps of all its holders, and whichever has a
free slot first takes it. So the load spreads over the replicas by itself, and a slow host takes less. Taking a task
removes it from one heap; the entries in others are dropped when they come to the top (lazy deletion).

A host that finds nothing of its own is dry. It helps the host with the longest backlog, but not at once: most dry
spells end by themselves, and then helping would have cost a transfer for nothing (measured with a groupby: 0.89 of
the reads local when help came at once, 1.00 after a wait, in equal time). The wait follows the length of the tasks, and
is paid once for each dry spell, not for each task. Help that would take longer than leaving the task where it is, or
that saves next to nothing, does not come before ``IDLE_MAX``, and then it comes in any case: patient, but never idle.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from heapq import heappop, heappush
from typing import Any

PATIENCE = 2.0  # task lengths that a dry host waits before it helps: about what a busy host needs to free a slot
FARTHER = 5.0  # task lengths that a task takes elsewhere, while none was measured: as over a card of 1 Gbit/s
WORTH = 1.0  # s of backlog below which help is not worth a transfer: the other will have come to its end
WAIT_FIRST = 0.1  # s to wait while no task's length is known
WAIT_MIN = 0.05  # s; below it, messages between worker and scheduler take longer than tasks
WAIT_MAX = 1.0  # s
IDLE_MAX = 3.0  # s after which a dry host helps even where the other would be as quick
SETTLE = 1.0  # s after hosts came or went in which tasks without a host wait for theirs: it may be about to come
SMOOTHING = 0.1  # weight of the newest task in the mean length


class Entry:
    """A queued task: its key, the smaller priority first, its bytes, and the hosts that hold them."""

    __slots__ = ("hosts", "key", "priority", "queued", "share")

    def __init__(self, key: Hashable, priority: Any, nbytes: int, hosts: tuple[str, ...]):
        self.key = key
        self.priority = priority
        self.hosts = hosts
        self.share = nbytes // len(hosts) if hosts else 0  # bytes of backlog that it is to each holder
        self.queued = True


Heap = list[tuple[Any, int, Entry]]


class Host:
    """What waits for one host. ``slots`` is 0 while it has no worker."""

    __slots__ = ("count", "dry", "heap", "nbytes", "slots")

    def __init__(self) -> None:
        self.heap: Heap = []
        self.slots = 0
        self.count = 0  # queued tasks that it holds the data of
        self.nbytes = 0  # its share of their bytes
        self.dry: float | None = None  # since when it has found nothing of its own


class HostQueue:
    """Queued tasks, by the hosts that hold what they read. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.helped = 0  # tasks given to hosts that do not hold their data
        self.dry: set[str] = set()  # hosts that found nothing of their own when they last asked
        self._entries: dict[Hashable, Entry] = {}
        self._hosts: dict[str, Host] = {}
        self._anywhere: Heap = []  # tasks whose place nobody knows, or that read nothing
        self._strays: Heap = []  # tasks none of whose hosts has a worker
        self._settled = float("-inf")
        self._order = 0
        self._length: float | None = None  # s of a task that reads locally
        self._length_remote: float | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    # Hosts

    def set_hosts(self, slots: dict[str, int], now: float) -> None:
        """Tell which hosts have workers, with the slots of each; the tasks of hosts that are gone stay queued."""
        gone = [name for name, host in self._hosts.items() if host.slots and not slots.get(name)]
        new = [name for name, number in slots.items() if number and not self._host(name).slots]
        for name, number in slots.items():
            self._host(name).slots = number
        for name in gone:
            host = self._hosts[name]
            host.slots, host.dry = 0, None
            self.dry.discard(name)
        for name in gone:
            for priority, order, entry in self._hosts[name].heap:
                if entry.queued and self._is_stray(entry):
                    heappush(self._strays, (priority, order, entry))
        if gone or new:
            self._settled = now + SETTLE

    def has_host(self, name: str) -> bool:
        """Say whether a host has workers."""
        host = self._hosts.get(name)
        return host is not None and host.slots > 0

    # Tasks

    def push(self, key: Hashable, priority: Any, nbytes: int = 0, hosts: tuple[str, ...] = ()) -> None:
        """Queue a task, or queue it anew with other hosts. Without hosts it goes wherever a slot is free first."""
        self.discard(key)
        entry = self._entries[key] = Entry(key, priority, nbytes, hosts)
        self._order += 1
        item = (priority, self._order, entry)
        present = False
        for name in hosts:
            host = self._hosts.get(name) or self._host(name)
            heappush(host.heap, item)
            host.count += 1
            host.nbytes += entry.share
            present = present or host.slots > 0
        if not hosts:
            heappush(self._anywhere, item)
        elif not present:
            heappush(self._strays, item)

    def discard(self, key: Hashable) -> None:
        """Forget a task, if it is queued."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        entry.queued = False
        for name in entry.hosts:
            host = self._hosts[name]
            host.count -= 1
            host.nbytes -= entry.share
            if not host.count:
                host.heap.clear()
        if not self._entries:
            self._anywhere.clear()
            self._strays.clear()
            self._not_dry(list(self.dry))

    def pop(self, name: str, now: float) -> Hashable | None:
        """Take the task that a free slot of a host is to run now, or None: nothing, or nothing yet."""
        host = self._host(name)
        best = self._top(host.heap)
        best = self._better(best, self._top(self._anywhere))
        if self._strays and now >= self._settled:
            best = self._better(best, self._stray())
        if best is not None:
            if host.dry is not None:
                self._not_dry((name,))
        elif self._entries:
            if host.dry is None:
                host.dry = now
                self.dry.add(name)
            if now - host.dry >= self.wait:
                best = self._stray() or self._help(now - host.dry)
                self.helped += best is not None
        if best is None:
            return None
        self.discard(best.key)
        return best.key

    def only_idle(self, names: Collection[str]) -> None:
        """Tell which hosts have a free slot: of all others, a dry spell has ended."""
        if self.dry:
            self._not_dry([name for name in self.dry if name not in names])

    def next_help(self, names: Iterable[str], now: float) -> float | None:
        """When one of these hosts, asked in vain just now, may take something: a time, or None for never."""
        if not self._entries:
            return None
        due = [self._due(dry, now) for name in names if (dry := self._host(name).dry) is not None]
        return min(due, default=None)

    # Measured

    def observe(self, seconds: float, local: bool) -> None:
        """Note how long a task took that read on its own host, or elsewhere."""
        if local:
            self._length = _smoothed(self._length, seconds)
        else:
            self._length_remote = _smoothed(self._length_remote, seconds)

    @property
    def wait(self) -> float:
        """Seconds that a dry host waits before it helps."""
        if self._length is None:
            return WAIT_FIRST
        return min(max(PATIENCE * self._length, WAIT_MIN), WAIT_MAX)

    # Inside

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host()
        return host

    @staticmethod
    def _top(heap: Heap) -> Entry | None:
        while heap:
            entry = heap[0][2]
            if entry.queued:
                return entry
            heappop(heap)
        return None

    @staticmethod
    def _better(one: Entry | None, other: Entry | None) -> Entry | None:
        if one is None or (other is not None and other.priority < one.priority):
            return other
        return one

    def _is_stray(self, entry: Entry) -> bool:
        return not any(self._hosts[name].slots for name in entry.hosts)

    def _stray(self) -> Entry | None:
        while entry := self._top(self._strays):
            if self._is_stray(entry):
                return entry
            heappop(self._strays)  # one of its hosts has come: it is in that host's heap
        return None

    def _help(self, dry_for: float) -> Entry | None:
        """The best task of the host with the longest backlog for its slots, if helping pays."""
        longest, victim = -1.0, None
        for host in self._hosts.values():
            if host.slots and host.count and host.nbytes / host.slots > longest:
                longest, victim = host.nbytes / host.slots, host
        if victim is None:
            return None
        if self._length is not None and dry_for < IDLE_MAX:
            there = victim.count / victim.slots * self._length  # until it has come to its last task
            if there < max(WORTH, self._length_remote or FARTHER * self._length):
                return None
        return self._top(victim.heap)

    def _due(self, dry: float, now: float) -> float:
        coming = [due for due in (dry + self.wait, dry + IDLE_MAX, self._settled) if due > now]
        return min(coming, default=now + self.wait)

    def _not_dry(self, names: Iterable[str]) -> None:
        for name in names:
            self._hosts[name].dry = None
            self.dry.discard(name)


def _smoothed(mean: float | None, value: float) -> float:
    return value if mean is None else mean + SMOOTHING * (value - mean)
