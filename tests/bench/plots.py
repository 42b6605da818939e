"""Pictures of the benchmark's cells."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from arms import ARMS
from cells import Cell, place_of, ratio
from places import FORMATS, WORKLOADS, Place

from appliance.simulate.plot import COLOURS

CARDS = ("none", "1gbit", "200mbit")  # fast to slow
CARD_NAMES = {"none": "no limit", "1gbit": "1 Gbit/s", "200mbit": "200 Mbit/s"}
COLOUR = dict(zip(ARMS, COLOURS, strict=False))
CARD_COLOUR = dict(zip(CARDS, COLOURS[3:] + COLOURS[2:3], strict=False))
MARKERS = dict(zip(FORMATS, "ox", strict=True))
SIZES = {1: 20, 8: 60, 32: 140}  # of a marker, in square points, by MiB of a chunk


def seconds(cells: Iterable[Cell], target: Path) -> None:
    """Write a PNG of seconds by workload, card and arm, for Zarr in chunks of 8 MiB; the lines are the fastest and
    slowest run.
    """
    by = {(cell["arm"], place_of(cell)): cell for cell in cells}
    figure = _figure(12, 6)
    for axes, workload in zip(figure.subplots(2, len(WORKLOADS) // 2).flat, WORKLOADS, strict=True):
        for offset, arm in enumerate(ARMS):
            found = [(x, by.get((arm, Place(workload, nic, 8)))) for x, nic in enumerate(CARDS)]
            there = [(x + 0.27 * (offset - 1), cell) for x, cell in found if cell]
            runs = [cell["seconds"] for _, cell in there]
            middle = [statistics.median(of_cell) for of_cell in runs]
            spread = [
                [m - min(r) for m, r in zip(middle, runs, strict=True)],
                [max(r) - m for m, r in zip(middle, runs, strict=True)],
            ]
            xs = [x for x, _ in there]
            axes.bar(xs, middle, 0.25, yerr=spread, color=COLOUR[arm], label=arm, error_kw={"linewidth": 0.8})
        axes.set_xticks(range(len(CARDS)), CARD_NAMES.values(), fontsize="small")
        axes.set_title(workload, fontsize="medium")
        axes.grid(alpha=0.3, axis="y")
        axes.set_ylim(bottom=0)
    figure.axes[0].legend(fontsize="small")
    figure.supylabel("seconds", fontsize="medium")
    figure.savefig(target, format="png", dpi=120)


def ratios(cells: Sequence[Cell], target: Path) -> None:
    """Write a PNG of every cell of ours against stock's and the cloud's: seconds, with 1 as a line."""
    by = {(cell["arm"], place_of(cell)): cell for cell in cells}
    figure = _figure(12, 4.5)
    for axes, other in zip(figure.subplots(1, 2, sharey=True), ARMS[1:], strict=True):
        for (arm, place), cell in by.items():
            if arm == "ours" and (other, place) in by:
                x = WORKLOADS.index(place.workload) + 0.25 * (CARDS.index(place.nic) - 1)
                look: dict[str, Any] = {"color": CARD_COLOUR[place.nic], "marker": MARKERS[place.format]}
                axes.scatter(x, ratio(cell, by[other, place]), s=SIZES[place.chunk_mib], alpha=0.8, **look)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        axes.minorticks_off()
        axes.set_xticks(range(len(WORKLOADS)), WORKLOADS, fontsize="small", rotation=20)
        axes.set_title(f"seconds, ours / {other} (below the line we win)", fontsize="medium")
        axes.grid(alpha=0.3)
    for nic, colour in CARD_COLOUR.items():
        figure.axes[0].scatter([], [], color=colour, label=CARD_NAMES[nic])
    for format, marker in MARKERS.items():
        figure.axes[0].scatter([], [], color="grey", marker=marker, label=format)
    figure.axes[0].legend(fontsize="small", ncols=2)
    figure.savefig(target, format="png", dpi=120)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
