"""What the locality queue costs the scheduler, and what it makes workers hold. Needs no machines.

Stock Dask and ours take turns. Prints a table and leaves ``build/bench/scheduler.json`` with three parts:

memory: a real scheduler and six real workers on loopback addresses, on a store that only notes who reads what. The
    highest sum of the results that workers hold, as the scheduler is told, for three shapes of graph.
    ``peak_memory_ratio`` is ours / stock, of the medians, in the worst shape with the worse of two and three replicas;
    ``peak_memory_ratio_2_replicas`` and ``…_3_replicas`` are the figures of each.
balance: the same machines, tasks of the length of a read, two replicas: how even the hosts' reads are, and how local.
    ``balance`` is what the host that reads most reads, as a multiple of the mean.
cpu: ``scheduler_cpu_ratio_100k``, the scheduler's CPU seconds for each of 100,000 chunks, ours / stock, the median of
    pairs. The scheduler is real and its workers are a model (see ``driven.py``): all that it does with graph, tasks and
    messages counts, but not its sockets and event loop, which cost both arms the same. What these cost is taken from a
    real scheduler process with stock Dask, by its own CPU clock: the ratio is 1 + (ours - stock, of the model) / stock
    process; ``scheduler_cpu_ratio_100k_model`` is the stricter ours / stock of the model alone. The whole graph of the
    model arrives, a tenth of it is run, and collections of garbage in that tenth are left out, as they fall there by
    chance (those while the graph arrives are not); ``--full`` runs all and leaves nothing out.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import logging
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
from distributed import Client
from summary import PROMISED, add

PROJECT = Path(__file__).parents[2]
PARTS = PROJECT / "tests" / "unit" / "compute"
sys.path.insert(0, str(PARTS))

from driven import driven  # noqa: E402 - found, as the next, by the line above, here and in the processes below
from stand_in import READS, SIX, StandIn  # noqa: E402

TARGET = Path("build/bench/scheduler.json")
MEMORY_CHUNK = 32_768  # elements of 8 bytes: 256 KiB
MEMORY_CHUNKS = 360
BALANCE_CHUNKS, BALANCE_SECONDS = 1200, 0.03
PROCESS_CHUNKS = 2000
CPU_SHARE = 0.1  # of the graph's tasks that are run, where not all are
ARMS = ("stock", "ours")
STOCK_GARBAGE = gc.get_threshold()


def _pairs(name: str) -> da.Array:
    one, other = (StandIn(f"{name}-{i}", MEMORY_CHUNKS // 2, length=MEMORY_CHUNK, seconds=0.02).array() for i in (1, 2))
    return da.stack([(one - other).std(), one.max(), other.max()])


def _neighbours(name: str) -> da.Array:
    array = StandIn(name, MEMORY_CHUNKS, length=MEMORY_CHUNK, seconds=0.02).array()
    return (array[MEMORY_CHUNK // 2 :] - array[: -MEMORY_CHUNK // 2]).std()


def _groups(name: str) -> da.Array:
    array = StandIn(name, MEMORY_CHUNKS, length=MEMORY_CHUNK, seconds=0.02).array()
    blocks = [array.blocks[number::12].reshape(-1, MEMORY_CHUNK) for number in range(12)]
    return da.stack([month.mean(axis=0) for month in blocks]).std()


SHAPES: dict[str, Callable[[str], da.Array]] = {"pairs": _pairs, "neighbours": _neighbours, "groups": _groups}


def set_arm(arm: str, replicas: int, dask_scheduler: Any = None, clock: Callable[[], float] = time.monotonic) -> None:
    """Make the scheduler stock, or ours with a map of so many replicas. Runs in the scheduler."""
    from stand_in import Map, Maps

    from appliance.compute.scheduler_preload import GARBAGE
    from appliance.compute.scheduling import coassignment, locality
    from appliance.compute.scheduling.atlas import Atlas

    for name in (locality.NAME, coassignment.NAME):
        plugin = dask_scheduler.plugins.pop(name, None)
        if isinstance(plugin, locality.LocalityPlugin):
            plugin.stop()
    gc.set_threshold(*(GARBAGE if arm == "ours" else STOCK_GARBAGE))
    if arm == "ours":
        atlas = Atlas(Maps(lambda: Map(replicas=replicas)))
        dask_scheduler.add_plugin(locality.LocalityPlugin(dask_scheduler, atlas, clock=clock))
        dask_scheduler.add_plugin(coassignment.CoassignmentPlugin(dask_scheduler))


def watch_memory(dask_scheduler: Any = None) -> None:
    """Note the highest sum of results that workers hold. Runs in the scheduler."""
    from distributed.diagnostics.plugin import SchedulerPlugin

    class Peak(SchedulerPlugin):  # type: ignore[misc]
        name = "peak"
        peak = 0

        def transition(self, _key: Any, _start: str, finish: str, *_: Any, **__: Any) -> None:
            if finish == "memory":
                self.peak = max(self.peak, sum(ws.nbytes for ws in dask_scheduler.workers.values()))

    dask_scheduler.plugins["peak"] = Peak()


def peak(dask_scheduler: Any = None) -> int:
    """The highest sum so far, in bytes."""
    return int(dask_scheduler.plugins.pop("peak").peak)


def reads(clear: bool) -> list[tuple[str, str, bool]]:
    """What a worker read. Runs in the worker."""
    import stand_in

    noted = list(stand_in.READS)
    if clear:
        stand_in.READS.clear()
    return noted


@contextmanager
def cluster() -> Iterator[Client]:
    """A scheduler and a worker on each of six addresses, as processes."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PARTS), str(PROJECT / "tests" / "bench")]),
        "OMP_NUM_THREADS": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"

        def start(role: str, *arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments]
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        processes = [
            start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        ]
        options = [
            "--nthreads",
            "1",
            "--no-nanny",
            "--memory-limit",
            "0",
            "--no-dashboard",
            "--local-directory",
            folder,
        ]
        processes += [start("worker", "--scheduler-file", str(file), "--host", host, *options) for host in SIX]
        try:
            while not file.exists() or not file.read_text():
                time.sleep(0.1)
            with Client(scheduler_file=str(file), timeout=60, set_as_default=False) as client:
                client.wait_for_workers(len(SIX), timeout=120)
                yield client
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def run_sum(client: Client, arm: str, tasks: int, name: str, task_seconds: float = 0.0) -> dict[str, float]:
    """One run of a sum over so many chunks."""
    client.run_on_scheduler(set_arm, arm, 2)
    client.run(reads, True)
    start = time.monotonic()
    total = client.compute(StandIn(name, tasks, seconds=task_seconds).array().sum()).result()
    seconds = time.monotonic() - start
    _until_forgotten(client)
    if total != 100.0 * tasks:
        raise RuntimeError(f"the sum over {tasks} chunks is {total}, not {100.0 * tasks}")
    noted = [read for of_worker in client.run(reads, True).values() for read in of_worker]
    return {"seconds": seconds, **_spread(noted)}


def _spread(noted: list[tuple[str, str, bool]]) -> dict[str, float]:
    """How local reads were, and those of the host that read most as a multiple of the mean."""
    hosts = Counter(host for host, _, _ in noted)
    local_share = sum(local for _, _, local in noted) / len(noted)
    return {"local_share": local_share, "balance": max(hosts.values()) * len(SIX) / len(noted)}


def run_process(client: Client, name: str) -> float:
    """CPU microseconds of a real, stock scheduler process for each chunk of a sum."""
    before = client.run_on_scheduler(cpu)
    run_sum(client, "stock", PROCESS_CHUNKS, name)
    return 1e6 * (client.run_on_scheduler(cpu) - before) / PROCESS_CHUNKS


def cpu(dask_scheduler: Any = None) -> float:  # noqa: ARG001 - distributed gives it
    """CPU seconds of the scheduler's process, after a collection of its garbage."""
    gc.collect()
    return time.process_time()


async def run_cpu(arm: str, tasks: int, share: float, name: str) -> dict[str, float]:
    """What a sum over so many chunks costs a scheduler, in this process, if this share of its tasks is run."""
    async with driven(*SIX) as model:
        set_arm(arm, 2, model.scheduler, clock=lambda: model.now)
        READS.clear()
        gc.collect()
        await model.compute(StandIn(name, tasks).array().sum(), math.ceil(share * tasks))
        set_arm("stock", 2, model.scheduler)
        seconds = model.arrival / tasks + model.work / model.reads
    return {"scheduler_us_per_chunk": 1e6 * seconds, **_spread(READS)}


def run_memory(client: Client, arm: str, replicas: int, shape: str, name: str) -> int:
    """The peak of the workers' results in one run of a shape, in bytes."""
    client.run_on_scheduler(set_arm, arm, replicas)
    client.run_on_scheduler(watch_memory)
    client.compute(SHAPES[shape](name)).result()
    _until_forgotten(client)
    return int(client.run_on_scheduler(peak))


def _until_forgotten(client: Client) -> None:
    while client.run_on_scheduler(_left):
        time.sleep(0.05)


def _left(dask_scheduler: Any = None) -> int:
    return len(dask_scheduler.tasks)


def _median(runs: list[dict[str, float]], figure: str) -> float:
    return statistics.median(run[figure] for run in runs)


def _turns(runs: int) -> Iterator[tuple[int, str]]:
    for number in range(runs):
        yield from ((number, arm) for arm in (ARMS if number % 2 == 0 else reversed(ARMS)))


def _balance(parts: Any, client: Client, runs: int) -> dict[str, Any]:
    """Tasks of the length of a real read: how even the hosts' reads are, and how local. Of stock Dask once."""
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for number, arm in [(0, "stock"), *((number, "ours") for number in range(runs))]:
        found[arm].append(parts.run_sum(client, arm, BALANCE_CHUNKS, f"even-{arm}-{number}", BALANCE_SECONDS))
    return {
        f"{arm}_{figure}": round(_median(of_arm, figure), 4)
        for arm, of_arm in found.items()
        for figure in ("balance", "local_share", "seconds")
    }


def _memory(parts: Any, client: Client, runs: int) -> dict[str, Any]:
    """Stock Dask knows no replicas: one arm of it stands beside two of ours."""
    arms = {"stock": ("stock", 3), "ours_3_replicas": ("ours", 3), "ours_2_replicas": ("ours", 2)}
    peaks: dict[tuple[str, str], list[int]] = {}
    for number in range(runs):
        for shape, name in itertools.product(SHAPES, arms if number % 2 == 0 else reversed(arms)):
            found = parts.run_memory(client, *arms[name], shape, f"{shape}-{name}-{number}")
            peaks.setdefault((shape, name), []).append(found)
            print(shape, name, round(found / 2**20, 2), "MiB", flush=True)
    medians = {which: statistics.median(found) for which, found in peaks.items()}
    figures = {f"{shape}_{name}_peak_mib": round(found / 2**20, 2) for (shape, name), found in medians.items()}
    for replicas in (3, 2):
        ratio = max(medians[shape, f"ours_{replicas}_replicas"] / medians[shape, "stock"] for shape in SHAPES)
        figures[f"peak_memory_ratio_{replicas}_replicas"] = round(ratio, 4)
    figures["peak_memory_ratio"] = max(figures[f"peak_memory_ratio_{replicas}_replicas"] for replicas in (3, 2))
    return figures


def _cpu(parts: Any, client: Client, runs: int, tasks: int, share: float) -> dict[str, Any]:
    processes = [parts.run_process(client, f"process-{number}") for number in range(runs)]
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for arm in ARMS:  # the first tasks of a process pay for its imports
        asyncio.run(run_cpu(arm, 200, 1.0, f"warm-{arm}"))
    for number, arm in _turns(runs):
        found[arm].append(asyncio.run(run_cpu(arm, tasks, share, f"cpu-{arm}-{number}")))
        print(arm, {name: round(figure, 3) for name, figure in found[arm][-1].items()}, flush=True)
    pairs = zip(found["stock"], found["ours"], strict=True)
    ratios = [ours["scheduler_us_per_chunk"] / stock["scheduler_us_per_chunk"] for stock, ours in pairs]
    figures = {
        f"cpu_{arm}_{figure}": round(_median(of_arm, figure), 4)
        for arm, of_arm in found.items()
        for figure in ("scheduler_us_per_chunk", "local_share", "balance")
    }
    extra = statistics.median(
        ours["scheduler_us_per_chunk"] - stock["scheduler_us_per_chunk"]
        for stock, ours in zip(found["stock"], found["ours"], strict=True)
    )
    process = statistics.median(processes)
    name = f"scheduler_cpu_ratio_{tasks // 1000}k"
    figures["cpu_stock_process_us_per_chunk"] = round(process, 1)
    figures["scheduler_cpu_ratios_model"] = [round(ratio, 4) for ratio in ratios]
    figures[f"{name}_model"] = round(statistics.median(ratios), 4)
    return {**figures, name: round(1.0 + extra / process, 4)}


def main() -> None:
    """Measure, print, write."""
    import scheduler as parts  # this file under the name by which the scheduler's process finds its functions

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tasks", type=int, default=100_000, help="chunks of the CPU part")
    parser.add_argument("--full", action="store_true", help="run all tasks of the CPU part, not a tenth")
    parser.add_argument("--only", choices=["cpu", "memory", "balance"], action="append", help="leave the others out")
    parser.add_argument("--runs", type=int, default=3, help="runs of each arm")
    given = parser.parse_args()
    parts_run = given.only or ["cpu", "memory", "balance"]
    figures: dict[str, Any] = {"runs": given.runs, "workers": len(SIX)}
    logging.disable(logging.WARNING)
    with parts.cluster() as client:
        for arm in ARMS:  # the first tasks of a process pay for its imports
            parts.run_sum(client, arm, 200, f"warm-{arm}")
        if "balance" in parts_run:
            figures |= _balance(parts, client, given.runs)
            figures["balance"] = figures["ours_balance"]
        if "memory" in parts_run:
            figures |= _memory(parts, client, 2 * given.runs - 1)  # a peak differs more from run to run
        if "cpu" in parts_run:
            figures |= _cpu(parts, client, given.runs, given.tasks, 1.0 if given.full else CPU_SHARE)
    for name, value in figures.items():
        print(f"{name:32} {value}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n")
    add({name: figures[name] for name in PROMISED if name in figures})


if __name__ == "__main__":
    main()
