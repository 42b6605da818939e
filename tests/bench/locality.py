"""What locality is worth: the same computations with the facility's scheduler, with the stock one, and the cloud way.

Runs on a converged rack (the one that `make demo` left, by default), as the researcher alice. Every cell is run several
times; the arms take turns within a cell, so that whatever else the machine does hits all of them. Leaves
``build/bench/cells.json``, a list of cells (arm, nic, chunk_mib, format, workload, seconds_median,
wire_bytes_per_byte_read, local_share, balance, peak_worker_bytes, and the seconds of each run), after each cell anew,
and adds its figures to ``build/bench/summary.json``. Seconds are wall seconds of the computation; bytes on the wire are
what the machines' cards sent meanwhile; the peak is the largest resident size of any worker.

The most telling places come first, so that a table that is stopped (by --minutes, or by hand) is worth something;
--continue measures what is missing. On two cores a place takes one to two minutes, the 144 of the whole table some four
hours, the five of --quick some six minutes. The data stays in alice's bucket for the next run (up
to 12 GiB with copies); --clean removes it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rack"))

import cells as table
from arms import ARMS, open_arm, stop
from cells import Cell, Runs
from places import SEEDS, WORKLOADS, Group, Place, data_of, full, quick
from researcher import Notebook, Researcher
from summary import BENCH, add

from appliance.demo.facility import Facility
from appliance.demo.wire import CardWatch
from appliance.rack import lifecycle, network

CELLS = BENCH / "cells.json"
SETTLE_SECONDS = 5  # after writing: see role ceph_rgw on pct_update_delay
SESSION_SECONDS = 12 * 3600
QUICK_ARMS = ("ours", "stock")
SLOW_SHARE = 0.25  # of the time, in which a slow host works


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


class Bench:
    """The arms, each with a notebook and a cluster, and what is measured with them."""

    def __init__(self, facility: Facility, arms: Mapping[str, Notebook], free_host: str, total_mib: int):
        """``free_host`` is a storage host that runs no arm's scheduler."""
        self._facility, self._arms, self._free_host, self._total_mib = facility, arms, free_host, total_mib

    def provide(self, group: Group) -> None:
        """Write the data of a group, where it is not there yet."""
        writer, made = next(iter(self._arms.values())), False
        for data in dict.fromkeys(data for place in group for data in data_of(place, self._total_mib)):
            made |= writer.run(f"say(made=provide{(data.url, data.total_mib, data.chunk_mib, SEEDS[data.name])!r})")[
                "made"
            ]
        if made:
            time.sleep(SETTLE_SECONDS)

    def measure(self, group: Group, runs: int, progress: Progress) -> list[Cell]:
        """Measure a group of places that differ in nothing but their data; ends the program where results differ."""
        turns = [(place, arm) for place in group for arm in self._arms]
        found = {turn: Runs() for turn in turns}
        with ExitStack() as stack:
            stack.enter_context(cards_at(self._facility, group[0].nic))
            if group[0].workload == "slow":
                stack.enter_context(lifecycle.slowed(self._facility.rack, self._free_host, SLOW_SHARE))
            for place, arm in turns:  # the first run of a kind pays for imports and connections
                self._run(place, arm, Runs())
            for number in range(runs):
                for place, arm in turns if number % 2 == 0 else reversed(turns):
                    shown = f"{place.workload}, {place.nic}, {place.chunk_mib} MiB, {place.format}, {arm}"
                    progress.update(progress.task_ids[0], description=shown)
                    self._run(place, arm, found[place, arm])
                    progress.advance(progress.task_ids[0])
        if fault := table.disagreement(found.values()):
            sys.exit(f"error: {group}: arms or formats disagree: {fault}")
        return [measured.cell(arm, place, self._total_mib) for (place, arm), measured in found.items()]

    def _run(self, place: Place, arm: str, runs: Runs) -> None:
        arguments = ", ".join(map(repr, (place.workload, *(data.url for data in data_of(place, self._total_mib)))))
        with CardWatch(self._facility.cards) as watch:
            said = self._arms[arm].run(f"say(**measure({arguments}))")
        sent = sum(card.sent for card in watch.between(said["start"], said["end"]).values())
        runs.seconds.append(said["end"] - said["start"])
        runs.wire.append(sent / said["bytes"])
        runs.local.append(said["local_share"])
        runs.balance.append(said["balance"])
        runs.peak.append(said["peak"])
        runs.results.append(said["result"])


@contextmanager
def opened(facility: Facility, arms: list[str], total_mib: int) -> Iterator[Bench]:
    """Start the arms' clusters, and end them whatever fails."""
    with Researcher(facility, "alice", SESSION_SECONDS) as researcher, ExitStack() as stack:
        notebooks: dict[str, Notebook] = {}
        schedulers = set()
        for arm in arms:
            notebooks[arm] = stack.enter_context(researcher.notebook())
            stack.callback(stop, notebooks[arm])
            schedulers.add(open_arm(notebooks[arm], arm))
        stores = [machine for machine in facility.rack.machines() if machine.name.startswith("store")]
        free = [machine.name for machine in stores if machine.address not in schedulers]
        yield Bench(facility, notebooks, (free or [stores[-1].name])[-1], total_mib)


def clean(facility: Facility) -> None:
    """Remove the data of all runs."""
    with Researcher(facility, "alice") as researcher, researcher.notebook() as notebook:
        notebook.run("""
            import fsspec
            files = fsspec.filesystem("s3")
            if files.exists("s3://alice/bench"):
                files.rm("s3://alice/bench", recursive=True)
            say()
        """)


def shown(cells: list[Cell]) -> Table:
    """Return the cells as a table for people."""
    shape = Table(title="medians")
    for name in ("workload", "nic", "MiB", "format", "arm", "seconds", "wire/byte", "local", "balance", "peak MiB"):
        shape.add_column(name, justify="left" if name in ("workload", "nic", "format", "arm") else "right")
    for cell in cells:
        shape.add_row(
            *(cell["workload"], cell["nic"], str(cell["chunk_mib"]), cell["format"], cell["arm"]),
            *(f"{cell['seconds_median']:.2f}", f"{cell['wire_bytes_per_byte_read']:.4f}", f"{cell['local_share']:.3f}"),
            *(f"{cell['balance']:.2f}", f"{cell['peak_worker_bytes'] / 2**20:.0f}"),
        )
    return shape


def arguments() -> argparse.Namespace:
    """Return what was asked for, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the places of the promised figures alone")
    parser.add_argument("--continue", dest="resume", action="store_true", help="keep the cells that stand")
    parser.add_argument("--minutes", type=float, help="begin no place that would end after so many minutes")
    parser.add_argument("--rack", default="rack", help="the converged rack (default: rack)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each cell (default: 5)")
    parser.add_argument("--total-mib", type=int, default=512, help="size of a dataset in MiB (default: 512)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="default: all; with --quick, those of the figures")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, help="of the places, only those of these workloads")
    parser.add_argument("--clean", action="store_true", help="remove the data of earlier runs, and do nothing else")
    options = parser.parse_args()
    options.arms = options.arms or list(QUICK_ARMS if options.quick else ARMS)
    if options.runs < 1 or options.total_mib < 64 or options.total_mib % 32:
        parser.error("--runs is at least 1, --total-mib at least 64 and whole chunks of 32 MiB")
    return options


def run(facility: Facility, groups: list[Group], cells: list[Cell], options: argparse.Namespace) -> list[Cell]:
    """Measure groups of places as long as there is time; returns the cells with theirs."""
    begun, longest = time.monotonic(), 0.0
    with opened(facility, options.arms, options.total_mib) as bench, Progress(console=Console(stderr=True)) as progress:
        progress.add_task("data", total=sum(map(len, groups)) * options.runs * len(options.arms))
        for group in groups:
            start = time.monotonic()
            if options.minutes is not None and start - begun + longest > 60 * options.minutes:
                break
            bench.provide(group)
            cells = table.replaced(cells, bench.measure(group, options.runs, progress))
            table.write(CELLS, cells)
            longest = max(longest, time.monotonic() - start)
    return cells


def main() -> None:
    """Measure the places that were asked for."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # so that speeds are set back
    facility = Facility(options.rack)
    if options.clean:
        clean(facility)
        return
    groups = quick() if options.quick else full()
    if options.only:
        groups = [group for group in groups if group[0].workload in options.only]
    cells = table.standing(table.read(CELLS), options.total_mib, options.runs, options.arms) if options.resume else []
    if groups := table.missing(groups, cells, options.arms):
        cells = run(facility, groups, cells, options)
    Console().print(shown(cells))
    if left := sum(map(len, table.missing(groups, cells, options.arms))):
        print(f"{left} places are left: --continue measures them")
    add(table.figures(cells))


if __name__ == "__main__":
    main()
