"""Write the benchmark's page and pictures from what the benchmarks left, so that nobody copies a figure by hand.

Reads ``build/bench/{cells,summary,worker_rate}.json``; writes ``docs/benchmark.md`` and the pictures beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rack"))

import plots
from arms import ARMS
from cells import Cell, place_of, ratio, read
from places import CHUNKS_MIB, FORMATS, NICS, WORKLOADS, Place
from plots import CARD_NAMES
from summary import BENCH, PROMISED, SUMMARY, kept
from worker_rate import SHOWN

DOCS = Path(__file__).resolve().parents[2] / "docs"
EVEN = 0.05  # ratios of seconds that are nearer to 1 tell nothing

HEAD = """# The benchmark

The same computations on the same machines, in three arms:

- **ours**: a cluster as any researcher gets it.
- **stock**: the same cluster, same workers, same reads through the gateway of the worker's own host, but Dask's own \
scheduler, which knows no places.
- **cloud**: Dask's own scheduler, its workers on the head, which holds no data; every byte comes through the balancer \
and over the network. The head's card is as fast as the three storage hosts' together.

`make bench-quick` measures the promised figures, `make bench` the whole table, bit by bit; `make bench-page` writes \
this page from what they left. Figures are medians; the arms took turns run by run, and a ratio is the median over \
such neighbours.

## What it was measured on, and what follows

One server with two shared processor cores. Head and three storage hosts are containers on it that share cores, memory \
and kernel; disks are files that the kernel keeps in memory; cards are pairs of virtual interfaces, slowed down by the \
kernel where a speed is given. Data lies in two copies on three hosts, each arm has three workers of one thread.

- Disks cost next to nothing here, processors everything: OSDs, gateways, workers and schedulers of all hosts compete \
for two cores. Three real hosts would bring three times their processors.
- A card without limit is a copy in memory. There is no network to save there, and locality can win only the gateway's \
and the kernel's work for a byte that travels.
- With two copies on three hosts, two of three reads are local by chance, as gateways read the copy of their own host. \
On ten hosts it would be one of five: see [simulation.md](simulation.md).
- All arms' idle workers are there while one arm runs. Other work on the server makes some runs longer than others; \
that is why runs take turns, and why ratios within ±5 % are called even.
- The data is one made field of float32, uncompressed, chunked along time; in chunks of 1 MiB a quarter as large. \
NetCDF files hold 64 MiB of values each.
"""

UNMEASURED = """- Real disks, real cards, more than three storage hosts, several users at a time.
- Compressed data: decoding costs all arms the same, and brings ratios nearer to 1.
- Erasure-coded pools, Icechunk, sharded arrays.
"""


def name(place: Place) -> str:
    """Return a place in words."""
    return f"{place.workload}, {CARD_NAMES[place.nic]}, {place.chunk_mib} MiB, {place.format}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def promised(figures: dict[str, float], cells: Sequence[Cell]) -> str:
    """Return what was promised beside what was measured, and what lies behind it where that is known."""
    rows = []
    for figure, (sign, bound) in PROMISED.items():
        value = figures.get(figure)
        verdict = "not measured" if value is None else "kept" if kept(figure, value) else "**missed**"
        rows.append((f"`{figure}`", "–" if value is None else f"{value:,.4g}", f"{sign} {bound:,g}", verdict))
    text = table(("figure", "measured", "promised", ""), rows)
    if "balance_on_rack" in figures:
        text += (
            "\n`balance` is of six workers with two replicas and 1,200 chunks (`tests/bench/scheduler.py`). On the "
            f"rack it is up to {figures['balance_on_rack']:.2f} (the worst of the reductions' medians): whoever is "
            "quicker takes more, and which of three hosts on two cores that is changes from run to run.\n"
        )
    return text + slow_cards(cells)


def slow_cards(cells: Sequence[Cell]) -> str:
    """Return what the mean over slow cards waits for: the promise of a fifth of stock's time hangs on it."""
    by = {(cell["arm"], place_of(cell)): cell for cell in cells}
    found = [by.get((arm, Place("mean", nic, 8))) for arm, nic in product(("ours", "stock"), ("none", "200mbit"))]
    if not all(found):
        return ""
    free, slow, _, stock = (cell for cell in found if cell)
    return (
        f"\nBehind `time_ratio_200mbit_mean`: ours takes {slow['seconds_median']:.2f} s over cards of 200 Mbit/s and "
        f"{free['seconds_median']:.2f} s over cards without limit: that much is processors' time. Stock takes "
        f"{stock['seconds_median']:.2f} s, as {stock['local_share']:.0%} of its reads are local by chance. A fifth of "
        f"that would need {stock['total_mib'] / (stock['seconds_median'] / 5):,.0f} MiB/s of all three workers; "
        f"without any limit they reach {free['total_mib'] / free['seconds_median']:,.0f} MiB/s.\n"
    )


def compared(cells: Sequence[Cell], other: str) -> Iterator[tuple[float, Place, Cell, Cell]]:
    """Yield each of our cells against another arm's, the ratio of seconds first."""
    by = {(cell["arm"], place_of(cell)): cell for cell in cells}
    for (arm, place), cell in by.items():
        if arm == "ours" and (other, place) in by:
            yield ratio(cell, by[other, place]), place, cell, by[other, place]


def verdicts(cells: Sequence[Cell], other: str) -> str:
    """Return where ours wins, loses and makes no difference against another arm."""
    found = sorted(compared(cells, other), key=lambda row: row[0])
    if not found:
        return f"Nothing was measured against {other}.\n"
    wins = [row for row in found if row[0] < 1 - EVEN]
    losses = [row for row in found if row[0] > 1 + EVEN][::-1]
    text = (
        f"Of {len(found)} places ours is faster at {len(wins)}, slower at {len(losses)}, and even (±{EVEN:.0%}) at "
        f"{len(found) - len(wins) - len(losses)}; the median of all ratios is "
        f"{statistics.median(row[0] for row in found):.2f}.\n"
    )
    head = (
        "place",
        "ours, s",
        f"{other}, s",
        f"ours / {other}",
        "runs slower",
        "local, ours",
        "wire, ours",
        f"wire, {other}",
    )
    for title, rows in (("Slower", losses), ("Faster, the ten clearest", wins[:10])):
        if rows:
            text += f"\n**{title}**\n\n" + table(head, (_against(*row) for row in rows))
    return text


def _against(of_seconds: float, place: Place, ours: Cell, theirs: Cell) -> tuple[str, ...]:
    slower = sum(mine > other for mine, other in zip(ours["seconds"], theirs["seconds"], strict=True))
    return (
        *(name(place), f"{ours['seconds_median']:.2f}", f"{theirs['seconds_median']:.2f}", f"{of_seconds:.2f}"),
        *(f"{slower} of {ours['runs']}", f"{ours['local_share']:.3f}", f"{ours['wire_bytes_per_byte_read']:.4f}"),
        f"{theirs['wire_bytes_per_byte_read']:.4f}",
    )


def worker(measured: dict[str, Any] | None) -> str:
    """Return the account of one worker's rate."""
    if measured is None:
        return "Not measured yet: `tests/bench/worker_rate.py` does.\n"
    rows = measured["layers"]
    by = {row["layer"]: row for row in rows}
    # rados_bench_16 is another way to read, not a layer below.
    steps = sorted((row for row in rows if row["more_ms"] is not None), key=lambda row: -row["more_ms"])
    whole, base = by["tasks"], by["rados_bench_1"]
    most = "; ".join(f"{row['what']}: {row['more_ms']:+.1f} ms" for row in steps[:3])

    def cells(row: dict[str, Any]) -> list[str]:
        shown = ["" if row[key] is None else f"{row[key]:{form}}" for key, form in SHOWN]
        return [row["what"], f"{row['mib_per_second']:.0f}", f"{row['ms_per_chunk']:.1f}", *shown]

    head = ("what reads", "MiB/s", "ms a chunk", "more than before, ms", "worker in the kernel, ms", "page faults")
    return (
        f"One thread of one worker reads chunks of {measured['chunk_mib']} MiB whose primary copy its own host has, "
        "one after the other; `rados bench seq` reads objects of that size from the same OSD. Everything was read "
        f"before, so no disk is waited for. Medians of {measured['runs']} runs; all but rates are for one chunk.\n\n"
        + table((*head, "of `rados bench`"), map(cells, rows))
        + f"\nTasks reach {whole['of_rados_bench']:.2f} of `rados bench` with one request under way (promised: 0.8, or "
        f"this account): {whole['ms_per_chunk']:.1f} ms a chunk instead of {base['ms_per_chunk']:.1f} ms. Most of the "
        f"difference: {most}. A reader that keeps the bytes copies them: from the pieces that came to one whole, from "
        "there to Python's bytes, and from these to an array.\n"
    )


def unmeasured(cells: Iterable[Cell]) -> str:
    """Return which places of the table are missing, by workload."""
    there = {place_of(cell) for cell in cells}
    lines = []
    for workload in WORKLOADS:
        places = [Place(workload, *rest) for rest in product(NICS, CHUNKS_MIB, FORMATS)]
        if left := [place for place in places if place not in there]:
            what = "all" if len(left) == len(places) else f"{len(left)} of {len(places)} places"
            lines.append(f"- {workload}: {what}")
    return ("Not measured yet, of the table:\n" + "\n".join(lines) + "\n\n" if lines else "") + "Not measured at all:\n"


def everything(cells: Sequence[Cell]) -> str:
    """Return all cells, a row for each place."""
    by = {(cell["arm"], place_of(cell)): cell for cell in cells}
    places = sorted(
        {place for _, place in by},
        key=lambda p: (WORKLOADS.index(p.workload), p.format != "zarr", p.chunk_mib, plots.CARDS.index(p.nic)),
    )

    def row(place: Place) -> list[str]:
        shown = []
        for key, form in (
            ("seconds_median", "{:.2f}"),
            ("wire_bytes_per_byte_read", "{:.3f}"),
            ("local_share", "{:.2f}"),
        ):
            of_arms = [by.get((arm, place)) for arm in ARMS]
            shown.append(" / ".join(form.format(cell[key]) if cell else "–" for cell in of_arms))
        ours = by.get(("ours", place))
        shown.append(f"{ours['balance']:.2f}" if ours else "–")
        of_arms = [by.get((arm, place)) for arm in ARMS]
        shown.append(" / ".join(f"{cell['peak_worker_bytes'] / 2**20:.0f}" if cell else "–" for cell in of_arms))
        return [place.workload, CARD_NAMES[place.nic], f"{place.chunk_mib}", place.format, *shown]

    head = (
        "workload",
        "card",
        "MiB",
        "format",
        "seconds",
        "wire / byte",
        "local",
        "balance, ours",
        "peak of a worker, MiB",
    )
    return table(head, map(row, places))


def page(cells: Sequence[Cell], figures: dict[str, float], rate: dict[str, Any] | None) -> str:
    """Return the whole page."""
    sizes = sorted({(cell["total_mib"], cell["runs"]) for cell in cells})
    told = "; ".join(f"datasets of {mib} MiB, {runs} runs of each cell" for mib, runs in sizes) or "no cells yet"
    parts = [
        HEAD + f"\nHere: {told}.\n",
        "## What was promised\n\n" + promised(figures, cells),
        "## Where it wins, and where it loses\n\n"
        "![seconds by workload, card and arm](benchmark-seconds.png)\n\n"
        "Zarr in chunks of 8 MiB; the thin lines are the fastest and the slowest run.\n\n"
        "![ours against stock and cloud, all places](benchmark-ratios.png)\n\n"
        "Large marks are large chunks.\n\n"
        "### Against the stock scheduler\n\n" + verdicts(cells, "stock"),
        "### Against the cloud way\n\n" + verdicts(cells, "cloud"),
        "## One worker beside `rados bench`\n\n" + worker(rate),
        "## What was not measured\n\n" + unmeasured(cells) + UNMEASURED,
        "## All cells\n\nWhere there are three figures: " + " / ".join(ARMS) + ".\n\n" + everything(cells),
    ]
    return "\n".join(parts)


def main() -> None:
    """Write page and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, default=BENCH, help="where the figures are")
    parser.add_argument("--to", dest="target", type=Path, default=DOCS, help="the folder of the page")
    options = parser.parse_args()
    cells = read(options.source / "cells.json")
    if not cells:
        sys.exit(f"error: {options.source / 'cells.json'} holds no cells: `make bench-quick` measures some")
    figures, rate = (
        json.loads(path.read_text()) if path.exists() else None
        for path in (options.source / SUMMARY.name, options.source / "worker_rate.json")
    )
    plots.seconds(cells, options.target / "benchmark-seconds.png")
    plots.ratios(cells, options.target / "benchmark-ratios.png")
    (options.target / "benchmark.md").write_text(page(cells, figures or {}, rate))
    print(options.target / "benchmark.md")


if __name__ == "__main__":
    main()
