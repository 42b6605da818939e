"""Scheduler preload: each task that reads goes to a host that holds what it reads, evenly over the replicas.

Loaded by ``distributed.scheduler.preload`` in the scheduler's own unit; a notebook says nothing about it.

How a task is steered. When a graph arrives, after its optimisation and before the first task moves, the plugin finds
the objects that each task reads, asks the placement map for their hosts in bulk, and restricts the task to the one
host among them that has the least to read so far. Once the task is assigned, the restriction is widened to all hosts
that hold its objects: a worker that runs dry may then take over work that it can read locally as well, and no worker
ever takes over work that it would have to read over the network. (With ``loose_restrictions`` distributed's work
stealing hands a task to any idle worker as soon as none of its own hosts is idle, so the plugin does not set it, and
looks after tasks without a worker itself.)

Locality is a preference: without a map, without a worker on any of the hosts, or when something here fails, tasks run
where the stock scheduler puts them. Tasks that carry restrictions of the user's own are left alone.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from distributed.diagnostics.plugin import SchedulerPlugin

from appliance.compute import reads
from appliance.compute.follow import FollowPlugin

if TYPE_CHECKING:
    from appliance.compute.graph import Source

logger = logging.getLogger("distributed.scheduler.appliance")

MAP_TIMEOUT = 1.0  # s; the scheduler waits for nothing longer than this
MAP_RETRY = 10.0  # s to leave a map service alone that did not answer within it
PATIENCE = 3.0  # s that a task without a worker waits for one on its own hosts


class Placement(Protocol):
    """What the plugin wants to know of ``appliance.placement.PlacementMap``."""

    def hosts(self, bucket: str, keys: list[str]) -> list[tuple[str, ...]]: ...

    def address(self, host: str) -> str: ...


class Maps(Protocol):
    """What the plugin wants of ``appliance.placement.MapClient``."""

    def get(self, bucket: str | None = None) -> Placement: ...


@dataclass(slots=True)
class Plan:
    """Where one task reads.

    Attributes:
        places: addresses of all hosts that hold the most of what it reads; shared by all tasks of the same hosts.
        target: the one of them that the task is restricted to until it is assigned.
        nbytes: uncompressed bytes that it reads.
        pending: it counts towards the target's load.
    """

    places: set[str]
    target: str
    nbytes: int
    pending: bool = True


class LocalityPlugin(SchedulerPlugin):  # type: ignore[misc]  # distributed has no types
    """Steers reading tasks to the hosts of their objects.

    Args:
        scheduler: the scheduler that it is added to.
        maps: where the placement map comes from; None steers nothing.
        patience: seconds that a task without a worker waits for one on its own hosts.
    """

    name = "appliance-locality"

    def __init__(self, scheduler: Any, maps: Maps | None, patience: float = PATIENCE):
        self.scheduler = scheduler
        self.maps = maps
        self.patience = patience
        self.plans: dict[Any, Plan] = {}
        self.load: defaultdict[str, int] = defaultdict(int)
        self._restrictions: dict[tuple[str, ...], set[str]] = {}
        self._said: set[str] = set()
        self._replan_due = False

    # What distributed calls

    def update_graph(self, scheduler: Any, *, tasks: list[Any], **_: Any) -> None:
        """Steer the tasks of a new graph. Called before the first of them moves."""
        try:
            fresh = {key: ts for key in tasks if (ts := self._to_steer(scheduler.tasks.get(key))) is not None}
            if fresh and self.maps is not None:
                self._steer(fresh)
        except Exception as error:  # the stock scheduler goes on
            self._say("steer", error)

    def transition(self, key: Any, _start: str, finish: str, *_: Any, **__: Any) -> None:
        """Widen what is assigned, and keep the account of what is still to be read."""
        plan = self.plans.get(key)
        if plan is None:
            return
        if finish == "processing":
            self.scheduler.tasks[key].host_restrictions = plan.places
        elif finish in ("memory", "erred", "forgotten"):
            if plan.pending:
                plan.pending = False
                self.load[plan.target] -= plan.nbytes
            if finish == "forgotten":
                del self.plans[key]
        elif finish == "no-worker":
            self._replan_soon()

    def add_worker(self, scheduler: Any, **_: Any) -> None:
        """A new worker may have come without those that other tasks wait for."""
        if scheduler.unrunnable:
            self._replan_soon()

    # Steering

    def _to_steer(self, ts: Any) -> Any:
        """The task's state if it may be steered: a new task that reads, without restrictions of the user's own."""
        if ts is None or ts.key in self.plans or ts.state not in ("released", "waiting", "no-worker"):
            return None
        if ts.run_spec is None or not getattr(ts.run_spec, "data_producer", False) or not _free(ts):
            return None
        return ts

    def _steer(self, fresh: Mapping[Any, Any]) -> None:
        wanted = self._reads_of(fresh)
        if not wanted:
            return
        threads = self._threads()
        places = self._places(wanted)
        # In the order in which they will run, so that the load is even at any time and not only in the end.
        for key in sorted(wanted, key=lambda key: fresh[key].priority or ()):
            there: dict[str, int] = {}
            for source, name in wanted[key]:
                for address in places[source.bucket, name]:
                    there[address] = there.get(address, 0) + source.chunk_bytes
            # While there are no workers, all hosts may get one.
            nearby = {address: nbytes for address, nbytes in there.items() if address in threads or not threads}
            if not nearby:
                continue  # no worker where its objects are: any worker will do
            nbytes, most = max(nearby.values()), max(there.values())
            target = min(
                (address for address, local in nearby.items() if local == nbytes),
                key=lambda address: ((self.load[address] + nbytes) / threads.get(address, 1), address),
            )
            self.load[target] += nbytes
            holders = self._shared(address for address, local in there.items() if local == most)
            self.plans[key] = Plan(holders, target, nbytes)
            fresh[key].host_restrictions = self._shared((target,))

    def _reads_of(self, fresh: Mapping[Any, Any]) -> dict[Any, list[tuple[Source, str]]]:
        # Here, as it imports dask.array: a scheduler without work has no use for it, and starts a second sooner.
        from appliance.compute.graph import Reads, UnknownReadError

        def lookup(key: Any) -> Any:
            ts = self.scheduler.tasks.get(key)
            return ts.run_spec if ts is not None else None

        finder = Reads(lookup)
        wanted: dict[Any, list[tuple[Source, str]]] = {}
        for key, ts in fresh.items():
            try:
                objects = finder.of(ts.run_spec)
            except UnknownReadError:
                continue
            except Exception as error:  # one odd task must not cost the others their places
                self._say("read", error)
                continue
            if objects:
                wanted[key] = objects
        return wanted

    def _places(self, wanted: Mapping[Any, Iterable[tuple[Source, str]]]) -> dict[tuple[str, str], tuple[str, ...]]:
        """Addresses of the hosts of each bucket and key. One question for each bucket."""
        keys: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for objects in wanted.values():
            for source, key in objects:
                keys[source.bucket][key] = None
        addresses: dict[tuple[str, ...], tuple[str, ...]] = {}
        places: dict[tuple[str, str], tuple[str, ...]] = {}
        for bucket, names in keys.items():
            placement = self.maps.get(bucket)  # type: ignore[union-attr]  # without maps nothing is steered
            for key, hosts in zip(names, placement.hosts(bucket, list(names)), strict=True):
                if hosts not in addresses:
                    addresses[hosts] = tuple(placement.address(host) for host in hosts)
                places[bucket, key] = addresses[hosts]
        return places

    def _threads(self) -> dict[str, int]:
        """Threads of the running workers on each host; empty before the first worker has come."""
        threads: defaultdict[str, int] = defaultdict(int)
        for worker in self.scheduler.running:
            threads[worker.host] += worker.nthreads
        return dict(threads)

    def _shared(self, addresses: Iterable[str]) -> set[str]:
        """One set for all tasks of the same hosts: a hundred thousand sets would be memory for nothing."""
        places = tuple(addresses)
        shared = self._restrictions.get(places)
        if shared is None:
            shared = self._restrictions[places] = set(places)
        return shared

    # Tasks whose hosts have no worker

    def _replan_soon(self) -> None:
        if not self._replan_due:
            self._replan_due = True
            self.scheduler.loop.call_later(self.patience, self._replan)

    def _replan(self) -> None:
        """Free the tasks that still wait for a worker on hosts that have none."""
        self._replan_due = False
        try:
            scheduler = self.scheduler
            present = self._threads()
            if not present:
                return  # nothing can run; add_worker calls again
            for ts in list(scheduler.unrunnable):
                plan = self.plans.get(ts.key)
                if plan is not None:
                    nearby = plan.places.intersection(present)
                    ts.host_restrictions = self._shared(sorted(nearby)) if nearby else None
            stimulus = f"appliance-replan-{scheduler.loop.time()}"
            for worker in list(scheduler.running):
                scheduler.transitions(scheduler.bulk_schedule_unrunnable_after_adding_worker(worker), stimulus)
        except Exception as error:
            self._say("replan", error)

    def _say(self, what: str, error: Exception) -> None:
        """Log a kind of failure once: a scheduler lives through millions of tasks."""
        if what not in self._said:
            self._said.add(what)
            logger.warning("Tasks run without regard to where their data is (%s): %r", what, error, exc_info=error)


def _free(ts: Any) -> bool:
    return not (ts.host_restrictions or ts.worker_restrictions or ts.resource_restrictions or ts.actor)


def _maps() -> Maps | None:
    url = os.environ.get("APPLIANCE_PLACEMENT_URL")
    if not url:
        logger.warning("APPLIANCE_PLACEMENT_URL is not set: tasks run without regard to where their data is")
        return None
    from appliance.placement import MapClient

    maps: Maps = MapClient(url, timeout=MAP_TIMEOUT, retry_after=MAP_RETRY)
    return maps


async def dask_setup(scheduler: Any) -> None:
    """Dask's entry point for preloads: steer tasks, and gather the counts of what workers read."""
    reads.gather_on(scheduler)
    try:
        maps = _maps()
    except Exception as error:
        logger.warning("Tasks run without regard to where their data is: %r", error)
        maps = None
    scheduler.add_plugin(LocalityPlugin(scheduler, maps))
    scheduler.add_plugin(FollowPlugin(scheduler))
