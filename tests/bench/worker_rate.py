"""How fast one worker reads what its own host holds, beside ``rados bench`` of the same OSD, and where the rest goes.

On a converged rack, as the researcher alice. One thread of one worker reads chunks of 8 MiB whose primary copy its own
host has, one after the other, once for each layer between the disk and a task; ``rados bench seq`` reads objects of
that size from a pool that is on this host's OSDs alone (made for this, and removed). All of it was read before, and the
layers take turns.

Prints a table and leaves ``build/bench/worker_rate.json``: for each layer MiB/s and ms for a chunk, medians. The
summary gets ``worker_rate_ratio``: the rate of tasks over that of ``rados bench`` with one request under way.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rack"))

from arms import open_arm, stop
from places import SEEDS, Data
from researcher import Notebook, Researcher
from summary import BENCH, add

from appliance.demo.facility import Facility
from appliance.rack import lifecycle

HERE = Path(__file__).parent
TARGET = BENCH / "worker_rate.json"
CHUNK_MIB = 8
GATEWAY_PORT = 7480  # ceph_rgw_port
# After the first two, each is the one before it and one layer more.
LAYERS = {
    "rados_bench_16": "rados bench seq, 16 requests under way (its default)",
    "rados_bench_1": "rados bench seq, one request under way",
    "librados": "librados in Python, the chunks' own RADOS objects",
    "gateway": "RGW and HTTP: GET, the bytes thrown away",
    "balancer": "the host's balancer before RGW",
    "obstore": "obstore: bytes in Python",
    "values": "zarr and xarray: an array of values",
    "tasks": "Dask: tasks, one at a time, and their results",
}
OF_RADOS = ("rados_bench_16", "rados_bench_1", "librados")


def account(rates: dict[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Return a row for each layer from its rates in MiB/s.

    A row has layer, what, mib_per_second (the median), ms_per_chunk, more_ms (than the layer before; None for the
    first two, which are no layers of each other) and of_rados_bench (the rate as a part of rados_bench_1's).
    """
    rows: list[dict[str, Any]] = []
    base = statistics.median(rates["rados_bench_1"])
    for layer, what in LAYERS.items():
        rate = statistics.median(rates[layer])
        took = 1000 * CHUNK_MIB / rate
        more = round(took - rows[-1]["ms_per_chunk"], 2) if len(rows) > 1 else None
        row = {"layer": layer, "what": what, "mib_per_second": round(rate, 1), "ms_per_chunk": round(took, 2)}
        rows.append({**row, "more_ms": more, "of_rados_bench": round(rate / base, 3)})
    return rows


@contextmanager
def rados_side(facility: Facility, host: str, given: dict[str, Any]) -> Iterator[Callable[[str], float]]:
    """Run the storage host's part there; yields what asks it for a rate in MiB/s."""
    program = (HERE / "rados_side.py").read_text()
    words = ["/usr/bin/python3", "-c", program, host, str(CHUNK_MIB)]
    command = [*lifecycle.ssh_command(facility.rack, host), "--", shlex.join(words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def tell(value: Any) -> None:
            assert process.stdin
            process.stdin.write(json.dumps(value) + "\n")
            process.stdin.flush()

        def ask(layer: str) -> float:
            assert process.stdout
            tell(layer)
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{host}: the measurement of {layer} failed, see above")
            return float(json.loads(line))

        tell(given)
        try:
            yield ask
        finally:
            process.stdin.close()  # upon which it cleans up


def measure(facility: Facility, notebook: Notebook, host: str, total_mib: int, runs: int) -> dict[str, list[float]]:
    """Return each layer's rates in MiB/s, run by run."""
    data = Data("first", CHUNK_MIB, "zarr", total_mib)
    notebook.run((HERE / "layers.py").read_text().replace("from __future__ import annotations", ""))
    if notebook.run(f"say(made=provide{(data.url, total_mib, CHUNK_MIB, SEEDS[data.name])!r})")["made"]:
        time.sleep(5)  # what was written settles: see role ceph_rgw on pct_update_delay
    notebook.run(f"layers = Layers(client, {data.url!r}, {host!r}, {GATEWAY_PORT}); say()")
    said = notebook.run("say(pool=layers.pool, objects=layers.objects)")
    mib = CHUNK_MIB * len(said["objects"])
    rates: dict[str, list[float]] = {layer: [] for layer in LAYERS}
    with rados_side(facility, host, said) as ask:
        for number in range(runs + 1):
            for layer, measured in rates.items():
                if layer in OF_RADOS:
                    rate = ask(layer)
                else:
                    rate = mib / notebook.run(f"say(seconds=layers.seconds({layer!r}))")["seconds"]
                if number:  # the first time, caches and connections are cold
                    measured.append(rate)
    return rates


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rack", default="rack", help="the converged rack (default: rack)")
    parser.add_argument("--host", default="store1", help="the storage host (default: store1)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each layer (default: 5)")
    parser.add_argument("--total-mib", type=int, default=512, help="values of the dataset in MiB (default: 512)")
    options = parser.parse_args()
    facility = Facility(options.rack)
    with Researcher(facility, "alice") as researcher, researcher.notebook() as notebook:
        try:
            open_arm(notebook, "ours")
            rates = measure(facility, notebook, options.host, options.total_mib, options.runs)
        finally:
            stop(notebook)
    rows = account(rates)
    table = Table(title="one worker, one thread, chunks of its own host")
    for name in ("layer", "MiB/s", "ms a chunk", "more", "of rados bench"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for row in rows:
        more = "" if row["more_ms"] is None else f"{row['more_ms']:+.1f}"
        table.add_row(
            row["what"],
            f"{row['mib_per_second']:.0f}",
            f"{row['ms_per_chunk']:.1f}",
            more,
            f"{row['of_rados_bench']:.2f}",
        )
    Console().print(table)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps({"chunk_mib": CHUNK_MIB, "runs": options.runs, "layers": rows}, indent=1) + "\n")
    add({"worker_rate_ratio": rows[-1]["of_rados_bench"]})


if __name__ == "__main__":
    main()
