"""A walk through a graph in the scheduler's order, on workers that are only imagined: seconds, and memory of each.

Pure: no Dask, no sockets, no clock of its own. A list scheduler: a free slot takes the first task in the order that is
ready and whose place it is. Tasks that read go to a host that holds their data, later tasks to the worker that holds
most of their inputs, as ``scheduling.locality`` and ``scheduling.coassignment`` have it. A value is held from the end
of its task until all tasks that need it are done, also on workers that it was sent to.

What the walk leaves out: locality waits, work stealing, cards and disks that slow each other down, and the copies that
Dask makes to send and receive.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

LIGHT_BYTES = 2**14  # of inputs that may travel: ``scheduling.coassignment.LARGE_BYTES``


@dataclass(frozen=True, slots=True)
class Work:
    """What one task does.

    Attributes:
        seconds: of work, reads from its own host among them.
        nbytes: of its value.
        working: bytes that it holds at most while it works beside its inputs, its value among them.
        read_bytes: bytes that it reads from S3.
        hosts: hosts of what it reads; empty where any will do.
        spread: bytes that it lays on all workers together (data that is rechunked by distributed's p2p); negative for
            what it takes from there.
    """

    seconds: float
    nbytes: int
    working: int = 0
    read_bytes: float = 0.0
    hosts: tuple[str, ...] = ()
    spread: float = 0.0


@dataclass
class Walked:
    """What came of a walk.

    Attributes:
        seconds: until the last task was done.
        peaks: by worker, the most bytes that it held.
        moved: bytes that went from one worker to another.
        held: the most bytes that all workers held together.
        busy: seconds of work of all tasks together.
    """

    seconds: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    moved: float = 0.0
    held: float = 0.0
    busy: float = 0.0


def walk(
    work: Sequence[Work],
    needs: Sequence[Sequence[int]],
    results: Collection[int],
    workers: Mapping[str, tuple[str, int]],
    task_seconds: float = 0.0,
    move_rate: float | None = None,
    hop_seconds: float = 0.0,
) -> Walked:
    """Walk through a graph.

    Args:
        work: the tasks in the scheduler's order.
        needs: for each task its inputs.
        results: tasks whose values are kept to the end.
        workers: by name the host and the number of threads.
        task_seconds: what a task costs the scheduler, one after the other.
        move_rate: bytes a second between workers and of remote reads; None where these take no time.
        hop_seconds: from the end of a task to the begin of one that needs it, beside ``task_seconds``.
    """
    return _Walk(work, needs, results, workers, task_seconds, move_rate, hop_seconds).run()


class _Walk:
    def __init__(
        self,
        work: Sequence[Work],
        needs: Sequence[Sequence[int]],
        results: Collection[int],
        workers: Mapping[str, tuple[str, int]],
        task_seconds: float,
        move_rate: float | None,
        hop_seconds: float,
    ):
        self.work, self.needs, self.results, self.workers = work, needs, set(results), workers
        self.task_seconds, self.move_rate, self.hop_seconds = task_seconds, move_rate, hop_seconds
        self.dependents: list[list[int]] = [[] for _ in work]
        for number, inputs in enumerate(needs):
            for needed in inputs:
                self.dependents[needed].append(number)
        self.waiting = [len(inputs) for inputs in needs]
        self.needed_by = [len(found) for found in self.dependents]
        self.where: list[set[str]] = [set() for _ in work]
        self.free = {name: threads for name, (_, threads) in workers.items()}
        self.own: dict[str, list[int]] = {name: [] for name in workers}
        self.of_host: defaultdict[str, list[int]] = defaultdict(list)
        self.anywhere: list[int] = []
        self.taken = [False] * len(work)
        self.ended = [0.0] * len(work)
        self.held = dict.fromkeys(workers, 0.0)
        self.total = self.spread = 0.0
        self.events: list[tuple[float, int, str]] = []
        self.scheduler_free = 0.0
        self.done = Walked(peaks=dict.fromkeys(workers, 0.0))

    def run(self) -> Walked:
        present = {host for host, _ in self.workers.values()}
        for number, inputs in enumerate(self.needs):
            if not inputs:
                self._queue(number, present)
        for name in self.workers:
            self._fill(name, 0.0)
        while self.events:
            now, number, name = heapq.heappop(self.events)
            self._finish(number, name, now, present)
            self.done.seconds = now
        if self.move_rate:
            self.done.seconds += sum(self.work[number].nbytes for number in self.results) / self.move_rate
        return self.done

    def _queue(self, number: int, present: Collection[str]) -> None:
        """Put a task that reads, or needs nothing, where slots look for it."""
        hosts = [host for host in self.work[number].hosts if host in present]
        for host in hosts:
            heapq.heappush(self.of_host[host], number)
        if not hosts:
            heapq.heappush(self.anywhere, number)

    def _fill(self, name: str, now: float) -> None:
        while self.free[name] and (number := self._next(name)) is not None:
            self._start(number, name, now)

    def _next(self, name: str) -> int | None:
        if self.own[name]:
            return heapq.heappop(self.own[name])
        found = self._top(self.of_host[self.workers[name][0]])
        other = self._top(self.anywhere)
        if found is None and other is None and any(self.of_host.values()):
            found = self._top(max(self.of_host.values(), key=len))  # help, from the longest backlog
            if found is None:  # what was left there is taken already
                found = next((top for heap in self.of_host.values() if (top := self._top(heap)) is not None), None)
        best = min((one for one in (found, other) if one is not None), default=None)
        if best is not None:
            self.taken[best] = True
        return best

    def _top(self, heap: list[int]) -> int | None:
        while heap and self.taken[heap[0]]:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _start(self, number: int, name: str, now: float) -> None:
        self.free[name] -= 1
        task = self.work[number]
        missing = [needed for needed in self.needs[number] if name not in self.where[needed]]
        moved = float(sum(self.work[needed].nbytes for needed in missing))
        for needed in missing:
            self.where[needed].add(name)
            self._hold(name, self.work[needed].nbytes)
        self.done.moved += moved
        if task.hosts and self.workers[name][0] not in task.hosts:
            moved += task.read_bytes
        ready = now
        if any(self.work[needed].nbytes or self.work[needed].seconds for needed in self.needs[number]):
            # Its last input has just come; a task that only reads waits at its worker already.
            ready = max(now, max(self.ended[needed] for needed in self.needs[number]) + self.hop_seconds)
        self.scheduler_free = max(self.scheduler_free + self.task_seconds, now)
        begin = max(self.scheduler_free, ready)
        seconds = task.seconds + (moved / self.move_rate if self.move_rate else 0.0)
        self.done.busy += seconds
        self._hold(name, max(task.working, task.nbytes))
        heapq.heappush(self.events, (begin + seconds, number, name))

    def _finish(self, number: int, name: str, now: float, present: Collection[str]) -> None:
        task = self.work[number]
        self._hold(name, task.nbytes - max(task.working, task.nbytes))
        self.where[number].add(name)
        self.ended[number] = now
        self.free[name] += 1
        if task.spread:
            self.spread = max(0.0, self.spread + task.spread)
            for other in self.workers:
                self._hold(other, 0.0)
        touched = {name}
        for dependent in self.dependents[number]:
            self.waiting[dependent] -= 1
            if not self.waiting[dependent]:
                if self.work[dependent].hosts or self._is_light(dependent):
                    self._queue(dependent, present)
                    touched.update(idle for idle, slots in self.free.items() if slots)
                else:
                    chosen = self._chosen(dependent)
                    heapq.heappush(self.own[chosen], dependent)
                    touched.add(chosen)
        for needed in self.needs[number]:
            self.needed_by[needed] -= 1
            if not self.needed_by[needed] and needed not in self.results:
                self._release(needed)
        if not self.needed_by[number] and number not in self.results:
            self._release(number)
        for one in touched:
            self._fill(one, now)

    def _is_light(self, number: int) -> bool:
        """Whether a task's inputs are no reason to run it anywhere: they have no bytes to speak of."""
        return sum(self.work[needed].nbytes for needed in self.needs[number]) < LIGHT_BYTES

    def _chosen(self, number: int) -> str:
        """Return the worker with most of a task's input; of several, the one with least to do."""
        there: defaultdict[str, int] = defaultdict(int)
        for needed in self.needs[number]:
            for name in self.where[needed]:
                there[name] += self.work[needed].nbytes
        return min(there, key=lambda name: (-there[name], len(self.own[name]) - self.free[name], name))

    def _release(self, number: int) -> None:
        for name in self.where[number]:
            self._hold(name, -self.work[number].nbytes)
        self.where[number].clear()

    def _hold(self, name: str, nbytes: float) -> None:
        self.held[name] += nbytes
        self.total += nbytes
        share = self.spread / len(self.workers)
        self.done.peaks[name] = max(self.done.peaks[name], self.held[name] + share)
        self.done.held = max(self.done.held, self.total + self.spread)
