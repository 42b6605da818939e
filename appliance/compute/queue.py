"""Which queued task a free slot takes: the best of those whose data is on its host, or another's when that is due.

Pure: no Dask, no sockets, no clock of its own. The scheduler's adapter and the simulator run this same code.

Each host has a heap of the tasks whose data it holds; a task is in the heaps of all its holders, and whichever has a
free slot first takes it. So the load spreads over the replicas by itself, and a slow host takes less. Taking a task
removes it from one heap; the entries in others are dropped when they come to the top (lazy deletion).

Results stay in memory until what they are joined with is there, so tasks are to run about in the order of their
priority. The best of the queue, ``NEAR`` for each host, are its front. A host that holds none of these has run ahead:
others have taken what it shares with them. It waits until one of its own has come to the front, which takes the others
less than a task's length, or until its patience ends; what it alone holds it takes at once, as nobody else will. (Two
replicas on six hosts: at most 11 tasks overtake others instead of 20, for half a per cent of time. With three replicas
it is 11 in either case.)

A host that finds nothing of its own at all helps the host with the longest backlog, but not at once: most such spells
end by themselves, and then helping would have cost a transfer for nothing (measured with a groupby: 0.89 of the reads
local when help came at once, 1.00 after a wait, in equal time). The wait follows the length of the tasks, and is paid
once for each spell, not for each task. Help that would take longer than leaving the task where it is, or that saves
next to nothing, does not come before ``IDLE_MAX``, and then it comes in any case: patient, but never idle.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from heapq import heappop, heappush
from typing import Any

from appliance.compute.front import Entry, Front, Heap, Host

NEAR = 2  # tasks for each host that are the front of the queue: makes two replicas as orderly as three
PATIENCE = 2.0  # task lengths that a host waits for its own: about what a busy host needs to free a slot
FARTHER = 5.0  # task lengths that a task takes elsewhere, while none was measured: as over a card of 1 Gbit/s
WORTH = 1.0  # s of backlog below which help is not worth a transfer: the other will have come to its end
WAIT_FIRST = 0.1  # s to wait while no task's length is known
WAIT_MIN = 0.05  # s; below it, messages between worker and scheduler take longer than tasks
WAIT_MAX = 1.0  # s
IDLE_MAX = 3.0  # s after which a waiting host helps even where the other would be as quick
SETTLE = 1.0  # s after hosts came or went in which tasks without a host wait for theirs: it may be about to come
SMOOTHING = 0.1  # weight of the newest task in the mean length


class HostQueue:
    """Queued tasks, by the hosts that hold what they read. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.helped = 0  # tasks given to hosts that do not hold their data
        self.waiting: set[str] = set()  # hosts that found nothing near of their own when they last asked
        self._entries: dict[Hashable, Entry] = {}
        self._hosts: dict[str, Host] = {}
        self._holders: dict[tuple[str, ...], tuple[Host, ...]] = {}  # of the same hosts are many tasks
        self._anywhere: Heap = []  # tasks whose place nobody knows, or that read nothing
        self._strays: Heap = []  # tasks none of whose hosts has a worker
        self._front = Front(self.waiting)
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
            host.slots = 0
        self._end_spells(gone)
        for name in gone:
            for item in self._hosts[name].heap:
                if item[2].queued and _is_stray(item[2]):
                    heappush(self._strays, item)
        if gone or new:
            self._settled = now + SETTLE
        self._front.resize(NEAR * sum(host.slots > 0 for host in self._hosts.values()))

    # Tasks

    def push(self, key: Hashable, priority: Any, nbytes: int = 0, hosts: tuple[str, ...] = ()) -> None:
        """Queue a task, or queue it anew with other hosts. Without hosts it goes wherever a slot is free first."""
        if key in self._entries:
            self.discard(key)
        self._order += 1
        holders = self._holders.get(hosts)
        if holders is None:
            holders = self._holders[hosts] = tuple(self._host(name) for name in hosts)
        entry = self._entries[key] = Entry(key, priority, self._order, nbytes, holders)
        item = (priority, self._order, entry)
        present = False
        for host in holders:
            heappush(host.heap, item)
            host.count += 1
            host.nbytes += entry.share
            present = present or host.slots > 0
        if not present:
            heappush(self._strays if holders else self._anywhere, item)
        self._front.add(item)

    def discard(self, key: Hashable) -> None:
        """Forget a task, if it is queued."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._remove(entry)

    def _remove(self, entry: Entry) -> None:
        entry.queued = False
        if entry.near:
            self._front.remove(entry)
        for host in entry.hosts:
            host.count -= 1
            host.nbytes -= entry.share
            if not host.count:
                host.heap.clear()
        if not self._entries:
            self._anywhere.clear()
            self._strays.clear()
            self._front.clear()
            self._end_spells(list(self.waiting))

    def pop(self, name: str, now: float) -> Hashable | None:
        """Take the task that a free slot of a host is to run now, or None: nothing, or nothing yet."""
        host = self._hosts.get(name) or self._host(name)
        best = self._top(host.heap)
        if self._anywhere:
            best = self._better(best, self._top(self._anywhere))
        if self._strays and now >= self._settled:
            best = self._better(best, self._stray())
        if best is not None and (best.near or not _is_shared(best)):
            if host.waits is not None:
                self._end_spells((name,))
        elif self._entries:
            if host.waits is None:
                host.waits = host.dry = now
                self.waiting.add(name)
            if best is not None:
                host.dry = now
                if now - host.waits < self.wait:
                    return None
            elif now - host.dry >= self.wait:
                best = self._stray() or self._help(now - (host.dry if host.took is None else host.took))
                self.helped += best is not None
            if best is not None:
                host.took = now
        if best is None:
            return None
        del self._entries[best.key]
        self._remove(best)
        return best.key

    def only_idle(self, names: Collection[str]) -> None:
        """Tell which hosts have a free slot: all others have other work now, and their wait is over."""
        if self.waiting:
            self._end_spells([name for name in self.waiting if name not in names and self._hosts[name].took is None])

    def next_help(self, names: Iterable[str], now: float) -> float | None:
        """When one of these hosts, asked in vain just now, may take something: a time, or None for never."""
        if not self._entries:
            return None
        due = [self._due(host, now) for name in names if (host := self._host(name)).waits is not None]
        return min(due, default=None)

    @property
    def woken(self) -> set[str]:
        """Hosts among those that wait for which something has come to the front since."""
        return self._front.woken

    # Measured

    def observe(self, seconds: float, local: bool) -> None:
        """Note how long a task took that read on its own host, or elsewhere."""
        if local:
            self._length = _smoothed(self._length, seconds)
        else:
            self._length_remote = _smoothed(self._length_remote, seconds)

    @property
    def wait(self) -> float:
        """Seconds that a host waits for its own before it takes something else."""
        if self._length is None:
            return WAIT_FIRST
        return min(max(PATIENCE * self._length, WAIT_MIN), WAIT_MAX)

    # Inside

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name)
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

    def _stray(self) -> Entry | None:
        while entry := self._top(self._strays):
            if _is_stray(entry):
                return entry
            heappop(self._strays)  # one of its hosts has come: it is in that host's heap
        return None

    def _help(self, waited: float) -> Entry | None:
        """The best task of the host with the longest backlog for its slots, if helping pays."""
        longest, victim = -1.0, None
        for host in self._hosts.values():
            if host.slots and host.count and host.nbytes / host.slots > longest:
                longest, victim = host.nbytes / host.slots, host
        if victim is None:
            return None
        if self._length is not None and waited < IDLE_MAX:
            there = victim.count / victim.slots * self._length  # until it has come to its last task
            if there < max(WORTH, self._length_remote or FARTHER * self._length):
                return None
        return self._top(victim.heap)

    def _due(self, host: Host, now: float) -> float:
        late = (host.dry if host.took is None else host.took) + IDLE_MAX
        begun = host.dry if host.waits is None else host.waits
        coming = [due for due in (begun + self.wait, host.dry + self.wait, late, self._settled) if due > now]
        return min(coming, default=now + self.wait)

    def _end_spells(self, names: Iterable[str]) -> None:
        for name in names:
            host = self._hosts[name]
            host.waits = host.took = None
            self.waiting.discard(name)
            self._front.woken.discard(name)


def _is_shared(entry: Entry) -> bool:
    """Whether another host may take it too: only then others may have run it in the place of what is in the front."""
    return sum(host.slots > 0 for host in entry.hosts) > 1


def _is_stray(entry: Entry) -> bool:
    return not any(host.slots for host in entry.hosts)


def _smoothed(mean: float | None, value: float) -> float:
    return value if mean is None else mean + SMOOTHING * (value - mean)
