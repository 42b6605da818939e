"""A trial: one task of each kind, on each worker at once, before the analysis runs.

It says how long a task takes on this cluster, how large its value is, and how much it holds beyond inputs and value
while it works. The values of inputs are those of the trial's own tasks of their kinds; only tasks that read touch the
storage, and none writes. Two numbers of the cluster are measured beside: what a task costs that does nothing, and how
fast a value goes from one worker to another.
"""

from __future__ import annotations

import contextlib
import statistics
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dask.sizeof import sizeof
from distributed import wait
from distributed.protocol import pickle

if TYPE_CHECKING:
    from dask._task_spec import GraphNode
    from dask.typing import Key
    from distributed import Client, Future

    from appliance.compute.forecasting.expected_reads import TaskRead
    from appliance.compute.forecasting.graph import Graph
    from appliance.compute.forecasting.kinds import Kinds

SECONDS = 10.0  # a trial begins no task after so many
HELD_SHARE = 0.4  # of a worker's memory that the trial's values may fill
BRIEF = 0.5  # s; a task that takes less is watched once more
LONG = 3.0  # s; a task that takes more is run once only, and its time is with what watching memory costs
LOOK = 2.0  # s between two looks whether the workers are still there
WORKERS_MAX = 32  # that take part
EMPTY_TASKS = 200
CHAIN = 20  # tasks of which each needs the one before
MOVED_BYTES = 2**24  # of the value that is sent from one worker to another
PRIORITY = 1000  # before what else the cluster has to do
FIRST = "appliance-forecast"


@dataclass(frozen=True)
class Tried:
    """What a task of one kind needs.

    Attributes:
        seconds: of its work, reading included.
        nbytes: of its value, as Dask counts it.
        working: bytes that it holds at most beside its inputs, its value among them.
    """

    seconds: float
    nbytes: int
    working: int


@dataclass
class Trial:
    """What the cluster said.

    Attributes:
        tried: by kind, what a task needs; kinds that were not tried are not there.
        failed: by kind, the error of those that failed.
        task_seconds: what a task costs the cluster that does nothing; None where nobody was asked.
        answer_seconds: from asking for one task to its result, with nothing else to do.
        hop_seconds: from the end of a task to the begin of one that needs it.
        move_rate: bytes a second from one worker to one on another host; None where that was not measured.
        workers: how many took part.
        lost: how many of these ended, or failed, before they had an answer.
        seconds: how long it took.
    """

    tried: dict[int, Tried] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    task_seconds: float | None = None
    answer_seconds: float = 0.0
    hop_seconds: float = 0.0
    move_rate: float | None = None
    workers: int = 0
    lost: int = 0
    seconds: float = 0.0


Answer = tuple[dict[int, Tried], dict[int, str]]  # by kind, what its tasks need, or why that is not known


class Step(NamedTuple):
    """One kind in a trial.

    Attributes:
        kind: its number.
        nodes: tasks of it; the first one is for warming up, the last one for its time.
        needs: the kinds of its inputs, by their keys.
        given: its inputs that are data of the graph itself.
    """

    kind: int
    nodes: Sequence[GraphNode]
    needs: Mapping[Key, int]
    given: Mapping[Key, GraphNode]


def trial(
    client: Client,
    graph: Graph,
    kinds: Kinds,
    reads: Mapping[Key, TaskRead],
    workers: Mapping[str, Mapping[str, Any]],
    seconds: float = SECONDS,
) -> Trial:
    """Try one task of each kind on the workers of a cluster.

    Args:
        client: the cluster's client.
        graph: the graph.
        kinds: its kinds.
        reads: what its tasks read, with their places.
        workers: the scheduler's account of the workers, by address.
        seconds: after which no further task is begun.
    """
    begun = time.perf_counter()
    asked = list(workers)[:WORKERS_MAX]
    found = Trial(workers=len(asked))
    futures: dict[str, Future[Answer]] = {}
    for number, address in enumerate(asked):
        limit = workers[address].get("memory_limit") or 0
        # Pickled, as Dask would take the tasks for a part of its own graph.
        steps = pickle.dumps(_steps(graph, kinds, reads, workers[address]["host"], number))
        key = f"{FIRST}-trial-{number}-{time.time_ns()}"
        options: dict[str, Any] = {"workers": [address], "allow_other_workers": False, "pure": False, "key": key}
        given = (steps, seconds, int(limit * HELD_SHARE))
        futures[address] = client.submit(run_pickled, *given, priority=PRIORITY, **options)
    answers, found.lost = answers_of(client, futures)
    del futures
    for kind in {number for tried, _ in answers for number in tried}:
        of_kind = [tried[kind] for tried, _ in answers if kind in tried]
        found.tried[kind] = Tried(
            statistics.median(one.seconds for one in of_kind),
            max(one.nbytes for one in of_kind),
            max(one.working for one in of_kind),
        )
    for _, failed in answers:
        found.failed.update({kind: why for kind, why in failed.items() if kind not in found.tried})
    found.answer_seconds, found.task_seconds, found.hop_seconds = _latencies(client)
    found.move_rate = _move_rate(client, workers)
    found.seconds = time.perf_counter() - begun
    return found


def answers_of(client: Client, futures: Mapping[str, Future[Answer]]) -> tuple[list[Answer], int]:
    """Return the answers of workers, by their addresses, and how many gave none.

    A task that may run on one worker only waits without end for one that has died.
    """
    pending, answers, lost = dict(futures), [], 0
    while pending:
        with contextlib.suppress(TimeoutError):
            wait(list(pending.values()), timeout=LOOK, return_when="FIRST_COMPLETED")
        alive = client.scheduler_info(n_workers=-1)["workers"]
        for address, future in list(pending.items()):
            if future.status == "finished":
                answers.append(future.result())
            elif future.status != "pending" or address not in alive:
                lost += 1
                client.cancel([future], force=True)
            else:
                continue
            del pending[address]
    return answers, lost


def run_pickled(steps: bytes, seconds: float, held_max: int) -> Answer:
    """Do what ``run_steps`` does, with pickled steps. Runs on a worker."""
    return run_steps(pickle.loads(steps), seconds, held_max)  # the client's own, as every task is


def run_steps(steps: Sequence[Step], seconds: float, held_max: int) -> Answer:
    """Run the steps in this process; returns what each kind needs, and why others failed. Runs on a worker.

    A task is run up to three times: to warm up, to see what it holds, since watching memory takes time, and for its
    time.

    Args:
        steps: the steps, each behind those that it needs.
        seconds: after which no further step is begun.
        held_max: bytes that the values may have together; 0 for no limit.
    """
    tried: dict[int, Tried] = {}
    failed: dict[int, str] = {}
    values: dict[int, Any] = {}
    last_use = {needed: number for number, step in enumerate(steps) for needed in step.needs.values()}
    end = time.perf_counter() + seconds
    held = 0
    for number, (kind, nodes, needs, given) in enumerate(steps):
        missing = [needed for needed in needs.values() if needed not in values]
        if missing or time.perf_counter() > end or (held_max and held > held_max):
            failed[kind] = (
                "what it needs was not tried" if missing else f"the trial's {seconds:g} s or its memory were used up"
            )
            continue
        inputs = {key: values[needed] for key, needed in needs.items()}
        inputs |= {key: node(()) for key, node in given.items()}
        try:
            values[kind], tried[kind] = _run(nodes, inputs)
        except Exception as error:  # a function that wants other values than these says nothing of the analysis
            failed[kind] = f"{type(error).__name__}: {error}"[:200]
            continue
        held += tried[kind].nbytes
        del inputs
        for done in [needed for needed in values if last_use.get(needed, -1) <= number]:
            del values[done]
            held -= tried[done].nbytes
    return tried, failed


def _run(nodes: Sequence[GraphNode], inputs: Mapping[Key, Any]) -> tuple[Any, Tried]:
    begun = time.perf_counter()
    value, working = _watched(nodes[0], inputs)
    seconds = time.perf_counter() - begun
    if seconds < LONG:
        if seconds < BRIEF:  # what the first one held may have been imports
            _, working = _watched(nodes[0], inputs)
        del value
        begun = time.perf_counter()
        value = nodes[-1](inputs)
        seconds = time.perf_counter() - begun
    return value, Tried(seconds, int(sizeof(value)), working)


def _watched(node: GraphNode, inputs: Mapping[Key, Any]) -> tuple[Any, int]:
    """Run a task; returns its value, and the bytes that it held at most beside its inputs."""
    own = not tracemalloc.is_tracing()
    if own:
        tracemalloc.start(1)
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        value = node(inputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if own:
            tracemalloc.stop()
    return value, max(0, peak - before)


def _steps(graph: Graph, kinds: Kinds, reads: Mapping[Key, TaskRead], host: str, worker: int) -> list[Step]:
    """Return the steps of one worker. It reads what its own host holds, where there is such a thing."""
    steps: list[Step] = []
    for kind in kinds.kinds:
        if kind.refused:
            continue
        nodes = [kind.node]
        if kind.is_reading:
            near = [key for key in kind.candidates if (at := reads[key].place) is not None and host in at.hosts]
            # Another one for each worker and each time: what was read a moment ago is in memory, as the analysis's
            # own objects will not be.
            chosen = near or kind.candidates
            picked = [chosen[(2 * worker + turn) % len(chosen)] for turn in (0, 1)]
            if all(graph.nodes[key].dependencies == kind.node.dependencies for key in picked):
                nodes = [graph.nodes[key] for key in picked]
        steps.append(Step(kind.number, nodes, kind.needs, kind.given))
    return steps


def _nothing(number: int) -> int:
    return number


def _latencies(client: Client) -> tuple[float, float, float]:
    """Return what tasks that do nothing cost: one alone, one of many that are asked for at once, one of a chain."""

    def took(count: int, chain: bool = False) -> float:
        name = f"{FIRST}-nothing-{time.time_ns()}"
        begun = time.perf_counter()
        done: list[Any] = []
        if chain:
            for number in range(count):
                given = done[-1] if done else 0
                done.append(client.submit(_nothing, given, key=f"{name}-{number}", pure=False, priority=PRIORITY))
            done[-1].result()
        else:
            names = [f"{name}-{number}" for number in range(count)]
            done += client.map(_nothing, range(count), key=names, pure=False, priority=PRIORITY)
            client.gather(done)
        return time.perf_counter() - begun

    took(1)
    alone = statistics.median(took(1) for _ in range(3))
    each = max(0.0, took(EMPTY_TASKS) - alone) / EMPTY_TASKS
    return alone, each, max(0.0, (took(CHAIN, chain=True) - alone) / CHAIN - each)


def _move_rate(client: Client, workers: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Return bytes a second between workers of two hosts; of two workers of one host where there is one host only."""
    addresses = list(workers)
    if len(addresses) < 2:
        return None
    first = addresses[0]
    second = next((at for at in addresses if workers[at]["host"] != workers[first]["host"]), addresses[1])
    rates = []
    for _ in range(2):
        options: dict[str, Any] = {"pure": False, "priority": PRIORITY, "allow_other_workers": False}
        made = client.submit(_random_bytes, workers=[first], key=f"{FIRST}-made-{time.time_ns()}", **options)
        made.exception()
        begun = time.perf_counter()
        client.submit(len, made, workers=[second], key=f"{FIRST}-moved-{time.time_ns()}", **options).result()
        rates.append(MOVED_BYTES / (time.perf_counter() - begun))
    return max(rates)


def _random_bytes() -> bytes:
    import os

    return os.urandom(MOVED_BYTES)
