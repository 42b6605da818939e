"""What the locality queue costs the scheduler, and what it makes workers hold. Needs no machines.

One scheduler process and six workers on loopback addresses; the store behind the array only notes who reads what.
Stock Dask and ours take turns in the same scheduler process, which is asked for its own CPU seconds before and after
each run, so that whatever else the machine does counts little. Memory is the sum of all results that workers hold, as
the scheduler is told, at its highest during a run.

Prints a table and leaves ``build/bench/scheduler.json``, among it ``scheduler_cpu_ratio_100k`` (ours / stock, the
median of pairs) and ``peak_memory_ratio`` (ours / stock, the medians' ratio in the worst of three shapes, with three
replicas). With two replicas a host has less of a choice: tasks run further out of their order, and more partial results
wait for each other; ``peak_memory_ratio_2_replicas`` says how much.
"""

from __future__ import annotations

import argparse
import json
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

from stand_in import SIX, StandIn  # noqa: E402 - found by the line above, here and in the processes below

TARGET = Path("build/bench/scheduler.json")
MEMORY_CHUNK = 32_768  # elements of 8 bytes: 256 KiB
MEMORY_CHUNKS = 1200
BALANCE_CHUNKS = 1200
ARMS = ("stock", "ours")


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


def set_arm(arm: str, replicas: int, dask_scheduler: Any = None) -> None:
    """Make the scheduler stock, or ours with a map of so many replicas. Runs in the scheduler."""
    from stand_in import Map, Maps

    from appliance.compute.follow import FollowPlugin
    from appliance.compute.plugin import LocalityPlugin

    for name in ("appliance-locality", "appliance-follow"):
        plugin = dask_scheduler.plugins.pop(name, None)
        if isinstance(plugin, LocalityPlugin):
            plugin.stop()
    if arm == "ours":
        dask_scheduler.add_plugin(LocalityPlugin(dask_scheduler, Maps(lambda: Map(replicas=replicas))))
        dask_scheduler.add_plugin(FollowPlugin(dask_scheduler))


def cpu(dask_scheduler: Any = None) -> float:  # noqa: ARG001 - distributed gives it
    """CPU seconds of the scheduler's process, after a collection of its garbage."""
    import gc

    gc.collect()
    return time.process_time()


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
    before, start = client.run_on_scheduler(cpu), time.monotonic()
    total = client.compute(StandIn(name, tasks, seconds=task_seconds).array().sum()).result()
    seconds = time.monotonic() - start
    _until_forgotten(client)
    used = client.run_on_scheduler(cpu) - before
    if total != 100.0 * tasks:
        raise RuntimeError(f"the sum over {tasks} chunks is {total}, not {100.0 * tasks}")
    noted = [read for of_worker in client.run(reads, True).values() for read in of_worker]
    hosts = Counter(host for host, _, _ in noted)
    return {
        "scheduler_us_per_chunk": 1e6 * used / tasks,
        "seconds": seconds,
        "local_share": sum(local for _, _, local in noted) / len(noted),
        "balance": max(hosts.values()) * len(SIX) / len(noted),
    }


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
    """Tasks of the length of a real read: how even the hosts' reads are, and how local."""
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for number, arm in _turns(runs):
        found[arm].append(parts.run_sum(client, arm, BALANCE_CHUNKS, f"even-{arm}-{number}", 0.05))
    return {
        f"{arm}_{figure}": round(_median(of_arm, figure), 4)
        for arm, of_arm in found.items()
        for figure in ("balance", "local_share", "seconds")
    }


def _memory(parts: Any, client: Client, runs: int, replicas: int) -> dict[str, Any]:
    peaks: dict[str, dict[str, list[int]]] = {shape: {arm: [] for arm in ARMS} for shape in SHAPES}
    for number, arm in _turns(runs):
        for shape in SHAPES:
            name = f"{shape}-{arm}-{number}"
            peaks[shape][arm].append(parts.run_memory(client, arm, replicas, shape, name))
            print(shape, arm, round(peaks[shape][arm][-1] / 2**20, 2), "MiB", flush=True)
    medians = {shape: {arm: statistics.median(found) for arm, found in both.items()} for shape, both in peaks.items()}
    figures = {
        f"{shape}_{arm}_peak_mib_{replicas}_replicas": round(peak_bytes / 2**20, 2)
        for shape, both in medians.items()
        for arm, peak_bytes in both.items()
    }
    ratio = max(both["ours"] / both["stock"] for both in medians.values())
    figures[f"peak_memory_ratio_{replicas}_replicas"] = round(ratio, 4)
    return figures


def _cpu(parts: Any, client: Client, runs: int, tasks: int) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for number, arm in _turns(runs):
        found[arm].append(parts.run_sum(client, arm, tasks, f"cpu-{arm}-{number}"))
        print(arm, {name: round(figure, 3) for name, figure in found[arm][-1].items()}, flush=True)
    pairs = zip(found["stock"], found["ours"], strict=True)
    ratios = [ours["scheduler_us_per_chunk"] / stock["scheduler_us_per_chunk"] for stock, ours in pairs]
    figures = {
        f"cpu_{arm}_{figure}": round(_median(of_arm, figure), 4)
        for arm, of_arm in found.items()
        for figure in ("scheduler_us_per_chunk", "seconds", "local_share", "balance")
    }
    name = f"scheduler_cpu_ratio_{tasks // 1000}k"
    return {**figures, "scheduler_cpu_ratios": [round(r, 4) for r in ratios], name: round(statistics.median(ratios), 4)}


def main() -> None:
    """Measure, print, write."""
    import scheduler as parts  # this file under the name by which the scheduler's process finds its functions

    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tasks", type=int, default=100_000, help="chunks of the CPU run")
    parser.add_argument("--only", choices=["cpu", "memory", "balance"], action="append", help="leave the others out")
    parser.add_argument("--replicas", type=int, action="append", help="of the memory runs; 3 and 2 where not given")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs")
    given = parser.parse_args()
    parts_run = given.only or ["cpu", "memory", "balance"]
    figures: dict[str, Any] = {"runs": given.runs, "workers": len(SIX)}
    with parts.cluster() as client:
        for arm in ARMS:  # the first tasks of a process pay for its imports
            parts.run_sum(client, arm, 200, f"warm-{arm}")
        if "balance" in parts_run:
            figures |= _balance(parts, client, given.runs)
        if "memory" in parts_run:
            for replicas in given.replicas or (3, 2):
                figures |= _memory(parts, client, given.runs, replicas)
            ratios = [value for name, value in figures.items() if name.startswith("peak_memory_ratio_")]
            figures["peak_memory_ratio"] = max(ratios)
        if "cpu" in parts_run:
            figures |= _cpu(parts, client, given.runs, given.tasks)
    for name, value in figures.items():
        print(f"{name:32} {value}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n")
    add({name: figures[name] for name in PROMISED if name in figures and name.endswith(("_100k", "_ratio"))})


if __name__ == "__main__":
    main()
