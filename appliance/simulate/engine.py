"""Runs one cell: places its chunks, queues its tasks, and lets slots take them until they are done."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice

from appliance.compute.scheduling.host_queue import HostQueue
from appliance.compute.scheduling.places import weigh
from appliance.placement import PlacementMap
from appliance.simulate.model import BUCKET, CARD_RATE, DISK_RATE, JITTER, OBJECT_BYTES, Cell, Result, make_map

BLOCK = 65_536  # keys placed at a time: flat memory for any number of them
TASKS_MAX = 100_000  # tasks that are simulated; a longer analysis is sampled

Hosts = tuple[str, ...]


def keys(count: int) -> Iterator[list[str]]:
    """Yield the keys of an array of ``count`` chunks, in lists of at most `BLOCK`."""
    for first in range(0, count, BLOCK):
        yield [f"era5/t2m/c/{number}/0/0" for number in range(first, min(first + BLOCK, count))]


def placed(cluster_map: PlacementMap, count: int) -> Iterator[list[Hosts]]:
    """Yield for each list of `keys` the hosts of its chunks, each chunk's primary first."""
    return (cluster_map.hosts(BUCKET, block) for block in keys(count))


def stream(hosts: int, replicas: int, count: int, seed: int, step: Callable[[int], None]) -> tuple[float, float]:
    """Place so many chunks and keep none of them.

    Args:
        hosts: storage hosts of the made map.
        replicas: copies of each chunk.
        count: chunks to place.
        seed: of the made map; the same seed gives the same map.
        step: called with the number of chunks that have been placed since the last call.

    Returns:
        CPU microseconds for each chunk, and the chunks that the fullest host holds as a multiple of the mean.
    """
    import numpy as np

    cluster_map = make_map(hosts, replicas, seed)
    pool = cluster_map.pool_of(BUCKET)
    groups = np.zeros(pool.pg_num, dtype=np.int64)
    start = time.process_time()
    for block in keys(count):
        groups += np.bincount(cluster_map.pgs(BUCKET, block), minlength=pool.pg_num)
        step(len(block))
    seconds = time.process_time() - start
    held = np.bincount(pool.acting.ravel(), weights=np.repeat(groups, replicas), minlength=hosts)
    return 1e6 * seconds / count, float(held.max() / held.mean())


class Run:
    """One cell while it runs."""

    def __init__(self, cell: Cell, seed: int, tasks_max: int = TASKS_MAX):
        cell.check()
        self.cell = cell
        self.sampled = cell.tasks > tasks_max
        self.measured = min(cell.tasks, tasks_max)  # tasks that count
        self._queued = min(cell.tasks, 2 * tasks_max)  # the rest keeps the queue full behind them
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._map = make_map(cell.hosts, cell.replicas, seed)
        self._names = sorted(self._map.addresses)
        self._queue: HostQueue[int] = HostQueue()
        self._holders: list[list[Hosts]] = []  # of each task's objects

    def result(self) -> Result:
        """Run the cell, once, and return its figures. CPU seconds are those of this process."""
        place_seconds = self._place()
        before = time.process_time()
        local, best, reads, idle = self._work()
        decide_seconds = time.process_time() - before
        total = self.measured * self.cell.objects
        share = local / total
        # Placing and queueing were done for all that is queued, taking and working only for what was measured.
        return Result(
            cell=self.cell,
            tasks_run=self.measured,
            sampled=self.sampled,
            place_us=1e6 * place_seconds / (self._queued * self.cell.objects),
            decide_us=1e6 * (self._queue_seconds / (self._queued * self.cell.objects) + decide_seconds / total),
            balance=max(reads.values()) * self.cell.hosts / total,
            local_share=share,
            best_share=best / total,
            wire_per_byte=1.0 - share,
            wire_per_byte_blind=1.0 - self.cell.replicas / self.cell.hosts,
            idle_share=idle,
        )

    def _place(self) -> float:
        """Place and queue the tasks; returns the CPU seconds of the former."""
        cell, queue = self.cell, self._queue
        queue.set_hosts(dict.fromkeys(self._names, cell.slots), now=-100.0)
        start = time.process_time()
        flat = (hosts for block in placed(self._map, self._queued * cell.objects) for hosts in block)
        self._holders = [list(islice(flat, cell.objects)) for _ in range(self._queued)]
        middle = time.process_time()
        present = set(self._names)
        for number, objects in enumerate(self._holders):
            hosts = objects[0]
            if cell.objects > 1:
                hosts, _ = weigh([(holders, OBJECT_BYTES) for holders in objects], present)
            queue.push(number, (0, 1, number), OBJECT_BYTES * cell.objects, hosts)
        self._queue_seconds = time.process_time() - middle
        return middle - start

    def _work(self) -> tuple[int, int, dict[str, int], float]:
        """Let the slots work; returns objects read locally, the most that could be, objects by host, idle share."""
        cell, queue = self.cell, self._queue
        # Slots start in any order, and their first tasks end at any time: nobody keeps step.
        order = [name for name in self._names for _ in range(cell.slots)]
        self._random.shuffle(order)
        asks = [0.0] * len(order)  # when each slot asks for a task; what an event says of another time is outdated
        events = [(0.0, slot) for slot in range(len(order))]
        waiting: dict[str, set[int]] = {name: set() for name in self._names}  # slots that got nothing

        def ask_at(when: float, slot: int) -> None:
            asks[slot] = when
            heapq.heappush(events, (when, slot))

        reads = dict.fromkeys(self._names, 0)
        local = best = done = 0
        worked, end = 0.0, 0.0
        while done < self.measured:
            now, slot = heapq.heappop(events)
            if now != asks[slot]:
                continue
            host = order[slot]
            waiting[host].discard(slot)
            number = queue.pop(host, now)
            if number is None:
                due = queue.next_due((host,), now)
                if due is not None:
                    waiting[host].add(slot)
                    ask_at(due, slot)
                continue
            while queue.ready_hosts:
                for other in waiting[queue.ready_hosts.pop()]:
                    ask_at(now, other)
            objects = self._holders[number]
            here = sum(host in holders for holders in objects)
            seconds = self._seconds(here, len(objects))
            queue.observe(seconds, 2 * here > len(objects))
            ask_at(now + seconds, slot)
            reads[host] += len(objects)
            local += here
            best += _most(objects)
            done += 1
            worked += seconds
            end = max(end, now + seconds)
        # In a sample the slots are all at work when it ends: that is its end, not that of the last task.
        end = now if self.sampled else end
        busy = (asks[slot] - now for slot, host in enumerate(order) if slot not in waiting[host])
        in_work = sum(max(0.0, left) for left in busy) if self.sampled else 0.0
        return local, best, reads, max(0.0, 1.0 - (worked - in_work) / (end * len(order))) if end else 0.0

    def _seconds(self, local: int, objects: int) -> float:
        plain = OBJECT_BYTES * (objects / DISK_RATE + (objects - local) / CARD_RATE)
        return plain * (1.0 + JITTER * (2.0 * self._random.random() - 1.0))


def _most(objects: list[Hosts]) -> int:
    """How many of a task's objects one host can hold at most."""
    if len(objects) == 1:
        return 1
    there: dict[str, int] = {}
    for holders in objects:
        for host in holders:
            there[host] = there.get(host, 0) + 1
    return max(there.values())
