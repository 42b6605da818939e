"""A picture of where a dataset lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from appliance.placement.client.tally import HostShare, Tally
from appliance.placement.colours import colour

MAX_CELLS = 40_000  # more cells than this are smaller than a dot


def plot(tally: Tally, primaries: Sequence[str], title: str, target: Path) -> None:
    """Write a PNG: what each host holds, and beside it one cell for each object, coloured by its primary's host.

    ``primaries`` names the primary's host of each object in the order of the keys, "" where there is none; a longer
    list than ``MAX_CELLS`` is drawn as far as that. Raises ``OSError`` if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    shares = tally.shares()
    hosts = [share.host for share in shares]
    colours = [colour(place) for place in range(len(hosts))]
    figure = Figure(figsize=(11, 1.8 + max(2.6, 0.34 * len(hosts))), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    bars, cells = figure.subplots(1, 2, width_ratios=(3, 2))
    _bars(bars, shares, colours)

    drawn = list(primaries[:MAX_CELLS])
    width = max(1, math.ceil(math.sqrt(len(drawn))))
    numbers = {host: place for place, host in enumerate(hosts)}
    grid = np.full(width * max(1, math.ceil(len(drawn) / width)), -1)
    grid[: len(drawn)] = [numbers.get(host, -1) for host in drawn]
    masked = np.ma.masked_less(grid.reshape(-1, width), 0)
    cells.imshow(
        masked, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(hosts) - 0.5, interpolation="nearest", aspect="auto"
    )
    cells.set_xticks([])
    cells.set_yticks([])
    count = f"the first {len(drawn):,} of {tally.objects:,}" if len(drawn) < tally.objects else f"{len(drawn):,}"
    cells.set_title(f"{count} objects in key order, by primary", fontsize="medium")
    figure.savefig(target, format="png", dpi=120)


def _bars(axes: object, shares: Sequence[HostShare], colours: Sequence[str]) -> None:
    from matplotlib.axes import Axes

    if not isinstance(axes, Axes):
        raise TypeError(f"not a matplotlib axes: {axes!r}")
    places = range(len(shares))
    most = max((share.bytes for share in shares), default=0)
    units = ((2**power, name) for power, name in ((30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "bytes")))
    unit, name = next((pair for pair in units if most >= pair[0]), (1, "objects"))
    if most:
        held, first = [share.bytes / unit for share in shares], [share.primary_bytes / unit for share in shares]
    else:  # of keys that were not listed no sizes are known
        held, first = [share.objects for share in shares], [share.primary_objects for share in shares]
    axes.barh(places, held, color=colours, alpha=0.35)
    axes.barh(places, first, color=colours)
    for place, share in zip(places, shares, strict=True):
        axes.annotate(
            f" {share.objects:,} objects, primary of {share.primary_objects:,}",
            (0, place),
            va="center",
            fontsize="small",
        )
    axes.set_yticks(places, [share.host for share in shares])
    axes.invert_yaxis()
    axes.set_xlabel(name)
    axes.set_title("held by each host: primary (full colour), any replica (pale)", fontsize="medium")
