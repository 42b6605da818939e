"""Makes a forecast: graph, reads, places, trial and walk, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from appliance.compute.forecasting.advice import advice
from appliance.compute.forecasting.exchange import LAYS, TAKES
from appliance.compute.forecasting.expected_reads import Reads, place, reads_of
from appliance.compute.forecasting.forecast import Forecast, duration, size
from appliance.compute.forecasting.graph import Graph, graph_of
from appliance.compute.forecasting.kinds import Kind, Kinds, kinds_of
from appliance.compute.forecasting.trial import SECONDS, Trial, Tried, trial
from appliance.compute.forecasting.walk import Walked, Work, walk

if TYPE_CHECKING:
    from distributed import Client

NAMED_MAX = 4  # names of kinds in a sentence


def forecasted(data: Any, client: Client | None = None, seconds: float = SECONDS) -> Forecast:
    """Return what an analysis will need, see ``appliance.compute.forecast``."""
    client = client or _client()
    graph = graph_of(data)
    reads = reads_of(graph)
    made = Forecast(
        tasks=len(graph.nodes),
        reads=reads.reads,
        objects=sum(array.objects for array in reads.arrays),
        bytes=round(reads.bytes),
        bytes_error=reads.error,
        basis=(f"bytes: sizes of objects, {reads.how}",) if reads.how else (),
        unknown=tuple(
            f"variable {name!r} is not in Dask chunks: your notebook reads it alone" for name, _ in graph.lazy
        ),
    )
    workers: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"] if client else {}
    if client is None or not workers:
        why = "there is no cluster" if client is None else "the cluster has no worker"
        unknown = (*made.unknown, *reads.unknown, f"local share, time and memory: {why}")
        return replace(made, unknown=unknown, advice=advice(made, reads, {}, exchange=False))
    place(reads, {worker["host"] for worker in workers.values()})
    if reads.why_not_local:
        reads.unknown.append(f"the local share: {reads.why_not_local}")
    made = replace(made, workers=len(workers), **_local(reads))
    if not seconds:
        unknown = (*made.unknown, *reads.unknown, "time and memory: no task was tried (seconds=0)")
        return replace(made, unknown=unknown, advice=advice(made, reads, workers, exchange=False))
    kinds = kinds_of(graph, reads.tasks)
    tried = trial(client, graph, kinds, reads.tasks, workers, seconds)
    if tried.lost == tried.workers:
        why = "time and memory: no worker lived through the trial. A single task may need more memory than it has"
        return replace(made, unknown=(*made.unknown, *reads.unknown, why), advice=advice(made, reads, workers, False))
    workers = {at: worker for at, worker in workers.items() if at in client.scheduler_info(n_workers=-1)["workers"]}
    resident = client.run(_resident)
    made = _walked(made, graph, kinds, reads, tried, workers, resident)
    exchange = any(kind.part for kind in kinds.kinds)
    made = replace(made, unknown=(*made.unknown, *reads.unknown))
    return replace(made, advice=advice(made, reads, workers, exchange))


def _client() -> Client | None:
    from distributed import default_client

    try:
        found: Client = default_client()
    except ValueError:
        return None
    return found


def _resident() -> int:
    """Return the bytes that this process has in memory. Runs on workers."""
    import os
    from pathlib import Path

    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")  # proc(5)


def _local(reads: Reads) -> dict[str, Any]:
    if reads.local is None or not reads.reads:
        return {}
    return {"local_share": reads.local / reads.reads}


def _walked(
    made: Forecast,
    graph: Graph,
    kinds: Kinds,
    reads: Reads,
    tried: Trial,
    workers: Mapping[str, Mapping[str, Any]],
    resident: Mapping[str, int],
) -> Forecast:
    """Add time and memory to a forecast."""
    keys = graph.sorted()
    numbers = {key: number for number, key in enumerate(keys)}
    needs = [[numbers[needed] for needed in graph.nodes[key].dependencies] for key in keys]
    work, unsized = _work(keys, needs, graph, kinds, reads, tried)
    results = [numbers[key] for key in graph.results]
    slots = {address: (worker["host"], worker["nthreads"]) for address, worker in workers.items()}
    found = walk(work, needs, results, slots, tried.task_seconds or 0.0, tried.move_rate, tried.hop_seconds)
    peaks = {address: resident.get(address, 0) + peak for address, peak in found.peaks.items()}
    fullest = max(peaks, key=peaks.__getitem__)
    untimed = [kind for kind in kinds.kinds if kind.number not in tried.tried]
    return replace(
        made,
        seconds=graph.seconds + tried.answer_seconds + found.seconds,
        seconds_at_least=bool(untimed),
        memory=round(peaks[fullest]),
        memory_at_least=bool(unsized),
        memory_limit=workers[fullest].get("memory_limit") or None,
        held=round(found.held),
        result_bytes=sum(work[number].nbytes for number in results) if not unsized else None,
        moved_bytes=round(found.moved),
        basis=(*made.basis, *_basis(graph, tried, found, resident)),
        unknown=(*made.unknown, *_unknown(untimed, tried, unsized)),
    )


def _work(
    keys: Sequence[Any],
    needs: Sequence[Sequence[int]],
    graph: Graph,
    kinds: Kinds,
    reads: Reads,
    tried: Trial,
) -> tuple[list[Work], int]:
    """Return what each task does, and of how many tasks nobody knows how large their value is."""
    work: list[Work] = []
    unsized = 0
    laid, takers = 0.0, sum(kind.tasks for kind in kinds.kinds if kind.part == TAKES)
    for number, key in enumerate(keys):
        kind = kinds.kinds[kinds.of[key]]
        reading = reads.tasks.get(key)
        hosts = reading.place.hosts if reading is not None and reading.place is not None else ()
        read_bytes = reading.bytes if reading is not None else 0.0
        own = graph.chunk_bytes.get(key)
        known = tried.tried.get(kind.number) or Tried(0.0, own or 0, own or 0)
        unsized += kind.number not in tried.tried and own is None
        spread, nbytes, seconds = 0.0, known.nbytes, known.seconds
        if kind.part == LAYS:
            spread = float(sum(work[needed].nbytes for needed in needs[number])) or float(known.working)
            laid += spread
        elif kind.part == TAKES:
            spread = -laid / takers
        if spread and tried.move_rate:
            seconds += abs(spread) / tried.move_rate
        work.append(Work(seconds, nbytes, known.working, read_bytes, hosts, spread))
    return work, unsized


def _basis(graph: Graph, tried: Trial, found: Walked, resident: Mapping[str, int]) -> list[str]:
    said = [
        f"time and memory: one task of each of {len(tried.tried):,} kinds, tried on {tried.workers:,} workers in "
        f"{duration(tried.seconds)}; {duration(found.busy)} of work together, and {duration(graph.seconds)} to make "
        "the graph",
        f"memory: what the workers have already, up to {size(max(resident.values(), default=0))}",
    ]
    if tried.task_seconds is not None:
        said.append(
            f"each task: {1000 * tried.task_seconds:.2f} ms of the scheduler, and {1000 * tried.hop_seconds:.2f} ms "
            "before one that needs it begins, measured"
        )
    if tried.move_rate is not None:
        said.append(f"between workers: {tried.move_rate / 1e6:,.0f} MB/s, measured")
    return said


def _unknown(untimed: Sequence[Kind], tried: Trial, unsized: int) -> list[str]:
    """Return what the time and memory do not contain."""
    said = []
    if tried.lost:
        said.append(f"what {tried.lost:,} workers would have said: they ended in the trial, perhaps for lack of memory")
    reasons: dict[str, Counter[str]] = {}
    for kind in untimed:
        why = tried.failed.get(kind.number) or kind.refused or "it was not tried"
        reasons.setdefault(why, Counter())[kind.name] += kind.tasks
    for why, names in reasons.items():
        shown = ", ".join(f"{name} ({count:,})" for name, count in names.most_common(NAMED_MAX))
        more = ", and others" if len(names) > NAMED_MAX else ""
        said.append(f"the time of {sum(names.values()):,} tasks: {shown}{more}: {why}")
    if unsized:
        said.append(f"how large the values of {unsized:,} of these tasks are")
    return said
