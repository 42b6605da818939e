"""How fast one worker reads what its own host holds, beside ``rados bench`` of the same OSD, and where the rest goes.

On a converged rack, as the researcher alice. One thread of one worker reads chunks of 8 MiB whose primary copy its own
host has, one after the other, once for each layer between the disk and a task; ``rados bench seq`` reads objects of
that size from a pool that is on this host's OSDs alone (made for this, and removed). All of it was read before, and the
layers take turns.

Prints a table and leaves ``build/bench/worker_rate.json``: for each layer MiB/s and ms for a chunk, of the worker's
layers also its ms in the kernel and page faults for a chunk; medians. The summary gets ``worker_rate_ratio``: the rate
of tasks over that of ``rados bench`` with one request under way.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
SHOWN = (("more_ms", "+.1f"), ("kernel_ms", ".1f"), ("faults", ",.0f"), ("of_rados_bench", ".2f"))
OF_RADOS = ("rados_bench_16", "rados_bench_1", "librados")


@dataclass
class Measured:
    """What was measured of a layer, a value for each run; the latter two of the worker's layers only, for a chunk."""

    mib_per_second: list[float] = field(default_factory=list)
    kernel_ms: list[float] = field(default_factory=list)
    faults: list[float] = field(default_factory=list)


def account(measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Return a row for each layer, of medians.

    A row has layer, what, mib_per_second, ms_per_chunk, more_ms (than the layer before; None for the first two, which
    are no layers of each other), of_rados_bench (the rate as a part of rados_bench_1's), kernel_ms and faults (None
    where no worker is).
    """
    rows: list[dict[str, Any]] = []
    base = statistics.median(measured["rados_bench_1"].mib_per_second)
    for layer, what in LAYERS.items():
        rate = statistics.median(measured[layer].mib_per_second)
        took = 1000 * CHUNK_MIB / rate
        more = round(took - rows[-1]["ms_per_chunk"], 2) if len(rows) > 1 else None
        row: dict[str, Any] = {
            "layer": layer,
            "what": what,
            "mib_per_second": round(rate, 1),
            "ms_per_chunk": round(took, 2),
        }
        for name, values in (("kernel_ms", measured[layer].kernel_ms), ("faults", measured[layer].faults)):
            row[name] = round(statistics.median(values), 1) if values else None
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


def measure(facility: Facility, notebook: Notebook, host: str, total_mib: int, runs: int) -> dict[str, Measured]:
    """Measure each layer, run by run."""
    data = Data("first", CHUNK_MIB, "zarr", total_mib)
    notebook.run((HERE / "layers.py").read_text().replace("from __future__ import annotations", ""))
    if notebook.run(f"say(made=provide{(data.url, total_mib, CHUNK_MIB, SEEDS[data.name])!r})")["made"]:
        time.sleep(5)  # what was written settles: see role ceph_rgw on pct_update_delay
    port = facility.facts["ceph_rgw_port"]
    notebook.run(f"layers = Layers(client, {data.url!r}, {host!r}, {port}); say()")
    held = notebook.run("say(pool=layers.pool, objects=layers.objects)")
    chunks = len(held["objects"])
    found = {layer: Measured() for layer in LAYERS}
    with rados_side(facility, host, held) as ask:
        for number in range(runs + 1):
            for layer, measured in found.items() if number else ((name, Measured()) for name in LAYERS):
                # The first time, caches and connections are cold: that goes into no row.
                if layer in OF_RADOS:
                    measured.mib_per_second.append(ask(layer))
                    continue
                said = notebook.run(f"say(**layers.measured({layer!r}))")
                measured.mib_per_second.append(CHUNK_MIB * chunks / said["seconds"])
                measured.kernel_ms.append(1000 * said["kernel_seconds"] / chunks)
                measured.faults.append(said["faults"] / chunks)
    return found


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
            measured = measure(facility, notebook, options.host, options.total_mib, options.runs)
        finally:
            stop(notebook)
    rows = account(measured)
    table = Table(title="one worker, one thread, chunks of its own host")
    for name in ("layer", "MiB/s", "ms a chunk", "more", "in the kernel", "faults", "of rados bench"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for row in rows:
        shown = ["" if row[key] is None else f"{row[key]:{form}}" for key, form in SHOWN]
        table.add_row(row["what"], f"{row['mib_per_second']:.0f}", f"{row['ms_per_chunk']:.1f}", *shown)
    Console().print(table)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps({"chunk_mib": CHUNK_MIB, "runs": options.runs, "layers": rows}, indent=1) + "\n")
    add({"worker_rate_ratio": rows[-1]["of_rados_bench"]})


if __name__ == "__main__":
    main()
