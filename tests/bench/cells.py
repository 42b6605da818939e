"""The cells of the locality benchmark's table: from runs to medians, to a file, and to the promised figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from places import Group, Place

Cell = dict[str, Any]
REDUCTIONS = ("mean", "series")  # of each chunk next to nothing is left
HELPLESS = ("rechunk",)  # where locality of reads cannot help


@dataclass
class Runs:
    """What was measured of one arm at one place, a value for each run."""

    seconds: list[float] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    local: list[float] = field(default_factory=list)
    balance: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    results: list[float] = field(default_factory=list)

    def cell(self, arm: str, place: Place, total_mib: int) -> Cell:
        """Return the medians under the names that readers of ``cells.json`` know, and the seconds of each run."""
        return {
            "arm": arm,
            **asdict(place),
            "total_mib": total_mib,
            "runs": len(self.seconds),
            "seconds": [round(seconds, 4) for seconds in self.seconds],
            "seconds_median": statistics.median(self.seconds),
            "wire_bytes_per_byte_read": statistics.median(self.wire),
            "local_share": statistics.median(self.local),
            "balance": statistics.median(self.balance),
            "peak_worker_bytes": statistics.median(self.peak),
        }


def disagreement(runs: Iterable[Runs]) -> str | None:
    """Say which results differ by more than a sum in another order explains; None where all agree."""
    values = [value for of_arm in runs for value in of_arm.results]
    spread = max(values) - min(values)
    return f"results from {min(values)} to {max(values)}" if spread > 1e-4 * max(map(abs, values)) else None


def place_of(cell: Cell) -> Place:
    """Return a cell's place."""
    return Place(cell["workload"], cell["nic"], cell["chunk_mib"], cell["format"])


def read(path: Path) -> list[Cell]:
    """Return the cells of a file, none where there is no such file; without those that an older program left.

    Raises:
        ValueError: it holds something else.
    """
    if not path.exists():
        return []
    cells = json.loads(path.read_text())
    if not isinstance(cells, list):
        raise ValueError(f"{path}: holds no cells of this benchmark: remove it, or start without --continue")
    return [cell for cell in cells if {"arm", "total_mib", "runs", "seconds"} <= set(cell)]


def write(path: Path, cells: Sequence[Cell]) -> None:
    """Leave cells in a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(cells, indent=1) + "\n")
    draft.replace(path)


def standing(cells: Iterable[Cell], total_mib: int, runs: int, arms: Sequence[str]) -> list[Cell]:
    """Return the cells that a table of this size may keep: those measured with as many runs of as much data."""
    return [c for c in cells if (c["total_mib"], c["runs"]) == (total_mib, runs) and c["arm"] in arms]


def missing(groups: Iterable[Group], cells: Iterable[Cell], arms: Sequence[str]) -> list[Group]:
    """Return the groups of places of which a cell is missing. A group is measured as a whole, as it takes turns."""
    there = {(cell["arm"], place_of(cell)) for cell in cells}
    return [group for group in groups if not all((arm, place) in there for arm in arms for place in group)]


def replaced(cells: Iterable[Cell], measured: Sequence[Cell]) -> list[Cell]:
    """Return the cells with newly measured ones in the place of their namesakes."""
    new = {(cell["arm"], place_of(cell)) for cell in measured}
    return [*(cell for cell in cells if (cell["arm"], place_of(cell)) not in new), *measured]


def ratio(cell: Cell, other: Cell) -> float:
    """Return how much longer a cell took than another: the median over runs that were neighbours in time."""
    pairs = zip(cell["seconds"], other["seconds"], strict=True)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def figures(cells: Iterable[Cell]) -> dict[str, float]:
    """Return the figures that were promised, as far as these cells hold them.

    - ``wire_bytes_per_byte_read``, ``balance_on_rack``, ``local_share``: the worst of ours over the reductions of Zarr
      in chunks of 8 MiB, at every speed of cards; ``wire_bytes_per_byte_read_stock`` is stock's worst of the same.
      ``balance``, which was promised, is measured by ``scheduler.py``: three hosts that share two cores differ in speed
      from moment to moment, and 64 chunks are too few to even that out.
    - ``time_ratio_200mbit_mean``: ours / stock, the mean of the same data over cards of 200 Mbit/s.
    - ``time_ratio_worst``: ours / stock, the worst over all cells of the rechunk.
    - ``netcdf_rate_ratio``: bytes a second of NetCDF in place / Zarr, ours, the mean in chunks of 8 MiB, no limit of
      cards. Both hold the same bytes of values, so it is the ratio of seconds.
    """
    by = {(cell["arm"], place_of(cell)): cell for cell in cells}

    def reductions(arm: str) -> list[Cell]:
        return [
            cell
            for (name, place), cell in by.items()
            if name == arm and place.workload in REDUCTIONS and (place.chunk_mib, place.format) == (8, "zarr")
        ]

    against_stock = {
        place: ratio(cell, by["stock", place])
        for (name, place), cell in by.items()
        if name == "ours" and ("stock", place) in by
    }
    found: dict[str, float] = {}
    if ours := reductions("ours"):
        found["wire_bytes_per_byte_read"] = max(cell["wire_bytes_per_byte_read"] for cell in ours)
        found["balance_on_rack"] = max(cell["balance"] for cell in ours)
        found["local_share"] = min(cell["local_share"] for cell in ours)
    if stock := reductions("stock"):
        found["wire_bytes_per_byte_read_stock"] = max(cell["wire_bytes_per_byte_read"] for cell in stock)
    if (slow_cards := Place("mean", "200mbit", 8)) in against_stock:
        found["time_ratio_200mbit_mean"] = against_stock[slow_cards]
    if helpless := [value for place, value in against_stock.items() if place.workload in HELPLESS]:
        found["time_ratio_worst"] = max(helpless)
    plain, in_place = (by.get(("ours", Place("mean", "none", 8, format))) for format in ("zarr", "netcdf"))
    if plain and in_place:
        found["netcdf_rate_ratio"] = ratio(plain, in_place)
    return found
