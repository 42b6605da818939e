"""A real scheduler whose workers are a model: 100,000 tasks in a minute, in a time that is counted and not waited for.

The scheduler is distributed's own, with its extensions and whatever plugins it is given; it gets the graph as a client
sends it, and from each worker the messages that a worker sends. The CPU seconds are those of the calls into the
scheduler, and of the packing and unpacking of its messages. Sockets and the event loop are left out, which cost the
same with any plugin.

The model of a worker: one thread that runs the best-priority task of those that it was given and that have their
inputs; inputs of other workers come after ``FETCH`` and at ``RATE``; messages take ``LATENCY``. Tasks are run for their
results, and last as long as they are said to.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from heapq import heappop, heappush
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import stand_in
from dask._expr import FinalizeCompute
from dask.base import collections_to_expr
from dask.core import flatten
from dask.sizeof import sizeof
from distributed import Scheduler
from distributed.comm import CommClosedError
from distributed.protocol import dumps, loads, serialize, to_serialize
from distributed.protocol.serialize import Serialized
from distributed.scheduler import ClientState

LATENCY = 0.002  # s that a message takes between scheduler and worker
FETCH = 0.004  # s until another worker answers with an input
RATE = 1e9  # bytes/s of inputs from other workers
READ, OTHER = 0.02, 0.001  # s that a task takes that reads, and one that does not
JITTER = 0.25  # tasks take their time, plus or minus up to this part of it
CLIENT = "client"


class _Loop:
    """The scheduler's event loop, for what looks at the time or wants to be called later."""

    def __init__(self, driven: Driven, loop: Any):
        self._driven, self._loop = driven, loop

    def time(self) -> float:
        return self._driven.now

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> None:
        self._driven.at(self._driven.now + delay, lambda: self._driven.ask(callback, *arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class _Worker:
    """What a worker does with the messages that it gets, and what it answers."""

    def __init__(self, driven: Driven, address: str):
        self.driven, self.address = driven, address
        self.data: set[Any] = set()
        self.given: dict[Any, dict[str, Any]] = {}  # tasks that are not done
        self.ready: list[tuple[Any, int, Any]] = []
        self.busy = False

    def hear(self, message: dict[str, Any]) -> None:
        what = message["op"]
        if what == "compute-task":
            self._compute(message)
        elif what in ("free-keys", "remove-replicas"):
            for key in message["keys"]:
                self.data.discard(key)
        elif what != "worker-status-change":
            raise NotImplementedError(f"the model of a worker does not know {what!r}")

    def _compute(self, message: dict[str, Any]) -> None:
        key = message["key"]
        self.given[key] = message
        missing = [wanted for wanted in message["nbytes"] if wanted not in self.data]
        if not missing:
            self._is_ready(key)
            return
        seconds = FETCH + sum(message["nbytes"][wanted] for wanted in missing) / RATE
        self.driven.at(self.driven.now + seconds, lambda: self._arrived(key, missing))

    def _arrived(self, key: Any, missing: list[Any]) -> None:
        self.data.update(missing)
        message = {"keys": missing, "stimulus_id": "fetched"}
        self._tell(self.driven.scheduler.add_keys, message)
        self._is_ready(key)

    def _is_ready(self, key: Any) -> None:
        heappush(self.ready, (self.given[key]["priority"], next(self.driven.numbers), key))
        self._next()

    def _next(self) -> None:
        if self.busy or not self.ready:
            return
        self.busy = True
        _, _, key = heappop(self.ready)
        task = self.given[key]["run_spec"].data
        seconds = self.driven.seconds(task)
        start = self.driven.now
        self.driven.at(start + seconds, lambda: self._done(key, task, start))

    def _done(self, key: Any, task: Any, start: float) -> None:
        self.busy = False
        driven, message = self.driven, self.given.pop(key)
        value = driven.run_task(task, self.address)
        self.data.add(key)
        finished = {
            "key": key,
            "run_id": message["run_id"],
            "stimulus_id": f"task-finished-{key}",
            "metadata": {},
            "nbytes": sizeof(value),
            "type": b"",
            "typename": type(value).__name__,
            "thread": 1,
            "startstops": ({"action": "compute", "start": start, "stop": driven.now},),
        }
        driven.values[key] = value
        self._tell(driven.scheduler.handle_task_finished, finished)
        self._next()

    def _tell(self, handler: Callable[..., Any], message: dict[str, Any]) -> None:
        self.driven.at(self.driven.now + LATENCY, partial(self.driven.tell, handler, self.address, message))


class _Mouth:
    """Where the scheduler's messages to one worker, or to the client, go in."""

    def __init__(self, sent: Callable[[dict[str, Any]], None]):
        self.sent = sent

    def send(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.sent(message)

    def abort(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _Silence:
    """A worker's connection on which nothing ever comes."""

    name = ""
    peer_address = "a model"

    async def write(self, _: Any) -> None:
        pass

    async def read(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Future()
        raise CommClosedError("the model is over")

    def closed(self) -> bool:
        return True

    def abort(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Driven:
    """A scheduler and its modelled workers.

    Attributes:
        now: s of the time that is counted.
        arrival: CPU seconds that the scheduler needed for the last graph's arrival.
        work: CPU seconds that it has needed since; without collections of garbage where not all tasks are run.
        reads: tasks that have read.
    """

    def __init__(self, scheduler: Any):
        self.scheduler = scheduler
        self.now = 1.0
        self.arrival = self.work = 0.0
        self.reads = 0
        self.values: dict[Any, Any] = {}
        self.numbers = itertools.count()
        self.connections: list[asyncio.Future[None]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sent: list[tuple[_Worker, dict[str, Any]]] = []
        self._random = random.Random(1)
        self._garbage = 0.0  # CPU seconds that collections of garbage have taken
        self._in_work = 0.0  # those of ``work`` among them
        self._collecting = 0.0  # when the one that runs began
        scheduler.loop = _Loop(self, scheduler.loop)
        scheduler.clients[CLIENT] = ClientState(CLIENT)
        scheduler.client_comms[CLIENT] = _Mouth(lambda _: None)

    async def add_worker(self, host: str, nthreads: int = 1) -> None:
        """Add a worker on a host."""
        address = f"tcp://{host}:9999"
        joining = self.scheduler.add_worker(
            _Silence(),
            address=address,
            status="running",
            server_id=address,
            nthreads=nthreads,
            name=address,
            resolve_address=False,
            now=time.time(),
            resources={},
            memory_limit=0,
            metrics={
                "bandwidth": {"total": RATE, "workers": {}, "types": {}},
                "digests_total_since_heartbeat": {},
                "memory": 0,
                "spilled_bytes": {"memory": 0, "disk": 0},
            },
            services={},
            local_directory="",
            versions={},
            nanny="",
            extra={},
            stimulus_id=f"add-{address}",
        )
        self.connections.append(asyncio.ensure_future(joining))
        while address not in self.scheduler.stream_comms:
            await asyncio.sleep(0)
        worker = _Worker(self, address)
        await asyncio.sleep(0.01)  # until it hears nothing
        self.scheduler.stream_comms[address] = _Mouth(lambda message: self._sent.append((worker, message)))

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at a time."""
        heappush(self._events, (when, next(self.numbers), what))

    def ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Call the scheduler, and note what it cost."""
        start, garbage = time.process_time(), self._garbage
        call(*arguments, **named)
        self._worked(start, garbage)

    def tell(self, handler: Callable[..., Any], worker: str, message: dict[str, Any]) -> None:
        """Let the scheduler get a worker's message."""
        frames = dumps([message])
        start, garbage = time.process_time(), self._garbage
        for unpacked in loads(frames, deserialize=False):
            handler(worker=worker, **unpacked)
        self._worked(start, garbage)

    def _worked(self, start: float, garbage: float) -> None:
        self._pack()
        self.work += time.process_time() - start
        self._in_work += self._garbage - garbage
        self._post()

    def _pack(self) -> None:
        for _, messages in itertools.groupby(self._sent, key=itemgetter(0)):
            dumps([message for _, message in messages])

    def _post(self) -> None:
        for worker, message in self._sent:
            self.at(self.now + LATENCY, partial(worker.hear, message))
        self._sent.clear()

    def seconds(self, task: Any) -> float:
        """How long a task takes."""
        plain = READ if task.data_producer else OTHER
        return plain * (1.0 + JITTER * (2.0 * self._random.random() - 1.0))

    def run_task(self, task: Any, address: str) -> Any:
        """The result of a task on a worker."""
        self.reads += task.data_producer
        stand_in.get_worker = lambda: SimpleNamespace(address=address)
        return task({wanted: self.values[wanted] for wanted in task.dependencies})

    async def compute(self, collection: Any, reads: int | None = None) -> Any:
        """The result of a collection, as ``client.compute(collection).result()`` has it. All is forgotten after it.

        With ``reads``, the rest is cancelled once so many tasks have read, and there is no result.
        """
        expression = FinalizeCompute(collections_to_expr([collection])).optimize()
        (key,) = flatten(expression.__dask_keys__())
        packed = Serialized(*serialize(to_serialize(expression), on_error="raise"))
        del expression
        self.work, self._in_work, self.reads = 0.0, 0.0, 0
        start = time.process_time()
        await self.scheduler.update_graph(
            client=CLIENT,
            expr_ser=packed,
            keys={key},
            span_metadata={"collections": []},
            internal_priority=None,
            submitting_task=None,
            stimulus_id=f"update-graph-{next(self.numbers)}",
        )
        self._pack()
        self.arrival = time.process_time() - start
        self._post()
        while key not in self.values and (reads is None or self.reads < reads):
            if not self._events:
                raise RuntimeError(f"nothing happens any more, and {len(self.scheduler.tasks)} tasks are left")
            self._step()
        value, work = self.values.get(key), self.work - self._in_work
        self.ask(self.scheduler.client_releases_keys, keys=[key], client=CLIENT, stimulus_id="released")
        while self._events:
            self._step()
        if value is None:
            self.work = work  # to cancel is none of it
        if self.scheduler.tasks:
            raise RuntimeError(f"{len(self.scheduler.tasks)} tasks are left")
        self.values.clear()
        return value

    def collects(self, phase: str, _: dict[str, int]) -> None:
        """One of ``gc.callbacks``."""
        if phase == "start":
            self._collecting = time.process_time()
        else:
            self._garbage += time.process_time() - self._collecting

    def _step(self) -> None:
        self.now, _, what = heappop(self._events)
        what()


@contextlib.asynccontextmanager
async def driven(*hosts: str) -> AsyncIterator[Driven]:
    """A scheduler with one modelled worker on each host."""
    async with Scheduler(port=0, host="127.0.0.1", dashboard_address=":0") as scheduler:
        made = Driven(scheduler)
        gc.callbacks.append(made.collects)
        for host in hosts:
            await made.add_worker(host)
        try:
            yield made
        finally:
            gc.callbacks.remove(made.collects)
            for connection in made.connections:
                connection.cancel()
            scheduler.stream_comms.clear()
            scheduler.client_comms.clear()
