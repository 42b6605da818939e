"""A picture of what was simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.simulate.model import Result

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")


def plot(results: Sequence[Result], target: Path) -> None:
    """Write a PNG of cost, balance, and bytes on the wire against the number of hosts, a line for each other choice.

    Raises ``OSError`` if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        lines[_name(result, results)].append(result)
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels: tuple[tuple[str, Callable[[Result], float]], ...] = (
        ("scheduling, CPU µs a chunk", lambda result: result.place_us + result.decide_us),
        ("busiest host / mean", lambda result: result.balance),
        ("bytes on the wire / bytes read", lambda result: result.wire_per_byte),
    )
    for axes, (title, figure_of) in zip(figure.subplots(1, 3), panels, strict=True):
        for colour, (name, line) in zip(_cycled(len(lines)), lines.items(), strict=True):
            hosts = [result.cell.hosts for result in line]
            axes.plot(hosts, [figure_of(result) for result in line], marker="o", label=name, **colour)
            if "wire" in title:
                blind = [result.wire_per_byte_blind for result in line]
                axes.plot(hosts, blind, ":", linewidth=1, color=colour["color"])
        axes.set_xscale("log")
        axes.set_xlabel("hosts")
        axes.set_title(title + (" (dotted: blind)" if "wire" in title else ""), fontsize="medium")
        axes.set_ylim(bottom=1.0 if "mean" in title else 0.0)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    figure.savefig(target, format="png", dpi=120)


def _name(result: Result, results: Sequence[Result]) -> str:
    """What tells the result's line from the others: the choices that differ among all results."""
    words = []
    for field, unit in (
        ("replicas", "replicas"),
        ("slots", "slots"),
        ("objects", "objects a task"),
        ("chunks", "chunks"),
    ):
        if len({getattr(other.cell, field) for other in results}) > 1:
            words.append(f"{getattr(result.cell, field):,} {unit}")
    return ", ".join(words) or "all"


def _cycled(count: int) -> list[dict[str, Any]]:
    shapes = ("-", "--", "-.")
    return [
        {"color": COLOURS[number % len(COLOURS)], "linestyle": shapes[number // len(COLOURS) % len(shapes)]}
        for number in range(count)
    ]
