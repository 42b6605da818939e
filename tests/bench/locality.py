"""What locality is worth: the same computations with the facility's scheduler, with the stock one, and the cloud way.

Runs on a converged rack (the one that `make demo` left, by default), as the researcher alice. Every cell is run several
times; the arms take turns within a cell, so that whatever else the machine does hits all of them. Leaves
``build/bench/cells.json``, a list of cells (arm, nic, chunk_mib, format, workload, seconds_median,
wire_bytes_per_byte_read, local_share, balance, peak_worker_bytes), after each cell anew, and adds its figures to
``build/bench/summary.json``. Seconds are wall seconds of the computation; bytes on the wire are what the machines'
cards sent meanwhile; the peak is the largest resident size of any worker.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rack"))

from arms import ARMS, OPEN, stop
from researcher import Notebook, Researcher
from summary import BENCH, add

from appliance.demo.facility import Facility
from appliance.demo.wire import CardWatch
from appliance.rack import lifecycle, network

HERE = Path(__file__).parent
CELLS = BENCH / "cells.json"
SETTLE = 0.3  # s of watching the cards around a run
REDUCTIONS = ("mean", "series")
HELPLESS = ("rechunk",)  # where locality of reads cannot help


@dataclass(frozen=True)
class Place:
    """One place in the table: what is computed, on which data, over which network."""

    workload: str
    nic: str
    chunk_mib: int
    format: str = "zarr"


@dataclass
class Runs:
    """What was measured of one arm at one place."""

    seconds: list[float] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    local: list[float] = field(default_factory=list)
    balance: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    results: list[float] = field(default_factory=list)

    def cell(self, arm: str, place: Place) -> dict[str, Any]:
        """Return the medians, under the names that readers of ``cells.json`` know."""
        return {
            "arm": arm,
            **asdict(place),
            "runs": len(self.seconds),
            "seconds_median": statistics.median(self.seconds),
            "wire_bytes_per_byte_read": statistics.median(self.wire),
            "local_share": statistics.median(self.local),
            "balance": statistics.median(self.balance),
            "peak_worker_bytes": statistics.median(self.peak),
        }


def quick() -> list[Place]:
    """Return the subset for regular use: about ten minutes."""
    free = [Place(work, "none", 8) for work in ("mean", "climatology", "rechunk")]
    return [*free, Place("mean", "200mbit", 8), Place("rechunk", "200mbit", 8)]


def full() -> list[Place]:
    """Return every place of the table."""
    works = ("mean", "climatology", "series", "difference", "rolling", "rechunk", "hot")
    return [Place(*cell) for cell in itertools.product(works, ("none", "1gbit", "200mbit"), (1, 8, 32))]


def data_of(place: Place, total_mib: int) -> list[str]:
    """Return the addresses of the datasets that a place reads."""
    names = ("first", "second") if place.workload == "difference" else ("first",)
    return [f"s3://alice/bench/{total_mib}mib-{place.chunk_mib}-{name}.zarr" for name in names]


@contextmanager
def cards_at(facility: Facility, rate: str) -> Iterator[None]:
    """Run with all cards at a speed, and the head's at three times that."""
    rack, before = facility.rack, facility.rack.nic
    wanted = None if rate == "none" else rate
    try:
        lifecycle.set_speed(rack, wanted)
        if wanted is not None:
            number, unit = int(wanted.removesuffix("mbit").removesuffix("gbit")), wanted.lstrip("0123456789")
            network.set_speed(rack.machine("head1"), f"{3 * number}{unit}")
        yield
    finally:
        lifecycle.set_speed(rack, before)


def one_run(notebook: Notebook, facility: Facility, place: Place, paths: list[str], runs: Runs) -> None:
    """Run a place's workload once in an arm, and note what it took."""
    arguments = ", ".join(map(repr, (place.workload, *paths)))
    with CardWatch(facility.cards) as watch:
        time.sleep(SETTLE)
        said = notebook.run(f"say(**measure({arguments}))")
        time.sleep(SETTLE)
    sent = sum(card.sent for card in watch.between(said["start"], said["end"]).values())
    runs.seconds.append(said["end"] - said["start"])
    runs.wire.append(sent / said["bytes"])
    runs.local.append(said["local_share"])
    runs.balance.append(said["balance"])
    runs.peak.append(said["peak"])
    runs.results.append(said["result"])


def disagreement(arms: dict[str, Runs]) -> str | None:
    """Say which results differ by more than a sum in another order explains; None where all agree."""
    values = [value for runs in arms.values() for value in runs.results]
    spread = max(values) - min(values)
    return f"results from {min(values)} to {max(values)}" if spread > 1e-4 * max(map(abs, values)) else None


def figures(cells: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures that were promised, as far as these cells hold them; none without something to compare."""
    if not {"ours", "stock"} <= {cell["arm"] for cell in cells}:
        return {}
    by = {(cell["arm"], cell["workload"], cell["nic"], cell["chunk_mib"], cell["format"]): cell for cell in cells}
    ours = [cell for cell in cells if cell["arm"] == "ours"]
    found: dict[str, float] = {}
    reductions = [cell for cell in ours if cell["workload"] in REDUCTIONS]
    if reductions:
        found["wire_bytes_per_byte_read"] = max(cell["wire_bytes_per_byte_read"] for cell in reductions)
        found["local_share"] = min(cell["local_share"] for cell in reductions)
        found["balance"] = max(cell["balance"] for cell in reductions)
        stock = [
            cell["wire_bytes_per_byte_read"] for cell in cells if cell["arm"] == "stock" and cell["workload"] == "mean"
        ]
        found["wire_bytes_per_byte_read_stock"] = max(stock)

    def ratio(cell: dict[str, Any]) -> float:
        stock = by["stock", cell["workload"], cell["nic"], cell["chunk_mib"], cell["format"]]
        return float(cell["seconds_median"] / stock["seconds_median"])

    for cell in ours:
        if (cell["workload"], cell["nic"], cell["chunk_mib"], cell["format"]) == ("mean", "200mbit", 8, "zarr"):
            found["time_ratio_200mbit_mean"] = ratio(cell)
    helpless = [ratio(cell) for cell in ours if cell["workload"] in HELPLESS]
    if helpless:
        found["time_ratio_worst"] = max(helpless)
    return found


def shown(cells: list[dict[str, Any]]) -> Table:
    """Return the cells as a table for people."""
    table = Table(title="medians")
    for name in ("workload", "nic", "MiB", "arm", "seconds", "wire/byte", "local", "balance", "peak MiB"):
        table.add_column(name, justify="left" if name in ("workload", "nic", "arm") else "right")
    for cell in cells:
        table.add_row(
            *(cell["workload"], cell["nic"], str(cell["chunk_mib"]), cell["arm"], f"{cell['seconds_median']:.2f}"),
            *(f"{cell['wire_bytes_per_byte_read']:.4f}", f"{cell['local_share']:.3f}", f"{cell['balance']:.2f}"),
            f"{cell['peak_worker_bytes'] / 2**20:.0f}",
        )
    return table


def main() -> None:
    """Run the places that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the subset of about ten minutes")
    parser.add_argument("--rack", default="rack", help="the converged rack (default: rack)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each cell (default: 5)")
    parser.add_argument("--total-mib", type=int, default=512, help="size of a dataset in MiB (default: 512)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--only", nargs="+", metavar="WORKLOAD", help="of the places, only those of these workloads")
    options = parser.parse_args()
    if options.runs < 1 or options.total_mib < 64:
        parser.error("--runs is at least 1, --total-mib at least 64")
    places = [
        place for place in (quick() if options.quick else full()) if not options.only or place.workload in options.only
    ]
    if not places:
        parser.error(f"--only {options.only}: no place has such a workload")
    facility = Facility(options.rack)
    console = Console(stderr=True)
    cells: list[dict[str, Any]] = []
    with Researcher(facility, "alice") as researcher, Progress(console=console) as progress:
        notebooks: dict[str, Notebook] = {}
        try:
            for arm in options.arms:
                notebooks[arm] = researcher.notebook().__enter__()
                notebooks[arm].run(OPEN)
                notebooks[arm].run(
                    (HERE / "workloads.py").read_text().replace("from __future__ import annotations", "")
                )
                notebooks[arm].run(f"start({arm!r}); say()")
            bar = progress.add_task("data", total=len(places) * options.runs * len(options.arms))
            for path, chunk in sorted(
                {(p, place.chunk_mib) for place in places for p in data_of(place, options.total_mib)}
            ):
                seed = 37.719 if "first" in path else 12.345
                notebooks[options.arms[0]].run(
                    f"make({options.total_mib}, {chunk}, {seed})"
                    f".to_zarr({path!r}, mode='w', encoding={{'t': {{'compressors': None}}}}); say()"
                )
            time.sleep(5)  # what was written settles: see role ceph_rgw on pct_update_delay
            for place in places:
                paths, measured = data_of(place, options.total_mib), {arm: Runs() for arm in options.arms}
                with cards_at(facility, place.nic):
                    for arm in options.arms:  # the first run of a kind pays for imports and connections
                        one_run(notebooks[arm], facility, place, paths, Runs())
                    for _ in range(options.runs):
                        for arm in options.arms:
                            progress.update(
                                bar, description=f"{place.workload}, {place.nic}, {place.chunk_mib} MiB, {arm}"
                            )
                            one_run(notebooks[arm], facility, place, paths, measured[arm])
                            progress.advance(bar)
                if fault := disagreement(measured):
                    sys.exit(f"error: {place}: the arms disagree: {fault}")
                cells += [runs.cell(arm, place) for arm, runs in measured.items()]
                CELLS.parent.mkdir(parents=True, exist_ok=True)
                CELLS.write_text(json.dumps(cells, indent=1) + "\n")
        finally:
            for notebook in notebooks.values():
                stop(notebook)
                notebook.__exit__(None, None, None)
    Console().print(shown(cells))
    add(figures(cells))


if __name__ == "__main__":
    main()
