"""Where the chunks of an array lie: the figures of each host, as a picture with a legend, and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from appliance.compute.reporting.templates import render
from appliance.placement.colours import colour

WIDTH = 640  # pixels
CELL_MAX = 20  # pixels of a cell's side, with the gap
GAP = 1  # pixels between cells
UNKNOWN, ABSENT = "#9a9a9a", "#ffffff"

Coordinates = tuple[int, ...]
Hosts = tuple[str, ...]  # the primary's first; empty: nobody knows
Cells = tuple[tuple[tuple[Coordinates, Hosts | None], ...], ...]  # rows of a picture; no hosts of an absent chunk


@dataclass(frozen=True)
class HostChunks:
    """What one host holds of an array.

    Attributes:
        host: its name in the inventory.
        chunks: number of chunks of which it holds the primary copy.
        bytes: of these chunks; before compression, but of a virtual dataset as they lie in the files.
        held: number of chunks of which it holds any copy.
        workers: number of workers of the cluster that was asked about, None where there is none.
    """

    host: str
    chunks: int
    bytes: int
    held: int
    workers: int | None


class _Cell(NamedTuple):
    x: int
    y: int
    fill: str
    title: str


class _Row(NamedTuple):
    fill: str
    cells: list[str]


@dataclass(frozen=True)
class ChunkMap:
    """The chunks of one array and their hosts. A notebook shows it as a picture with a legend.

    Attributes:
        name: the variable and where it is stored.
        hosts: all storage hosts, by name.
        unknown: number of chunks of which no map says where they lie.
        absent: number of chunks that a virtual dataset does not have: their values are the fill value.
        epoch: of the cluster's map.
        cells: the drawn part of the grid of chunks, rows of (coordinates, hosts or None for an absent chunk).
        caption: what is drawn.
    """

    name: str
    hosts: tuple[HostChunks, ...]
    unknown: int
    absent: int
    epoch: int
    cells: Cells
    caption: str

    @property
    def chunks(self) -> int:
        """Number of chunks of the array, those without a known host among them."""
        return sum(row.chunks for row in self.hosts) + self.unknown + self.absent

    def __str__(self) -> str:
        width = max((len(row.host) for row in self.hosts), default=0)
        lines = [
            f"{row.host:{width}}  {row.chunks:,} chunks, {row.bytes / 2**20:,.1f} MiB, a copy of {row.held:,}"
            for row in self.hosts
        ]
        for count, name in ((self.unknown, "not known where"), (self.absent, "no object")):
            if count:
                lines.append(f"{name}: {count:,}")
        return "\n".join([self.name, *lines])

    def _repr_svg_(self) -> str:
        """Return the grid of chunks, each coloured by its primary's host; a cell's tooltip names its hosts."""
        columns = max((len(row) for row in self.cells), default=1)
        side = min(CELL_MAX, WIDTH // columns)
        return render(
            "chunk_map.svg.j2",
            width=columns * side,
            height=len(self.cells) * side,
            side=side - GAP,
            cells=self._drawn_cells(side),
        )

    def _repr_html_(self) -> str:
        """Return the grid with its caption, and a legend with the figures of each host."""
        with_workers = any(row.workers is not None for row in self.hosts)
        return render(
            "chunk_map.html.j2",
            name=self.name,
            caption=f"{self.caption}. Coloured by the host of the primary copy; map of epoch {self.epoch}.",
            picture=self._repr_svg_(),
            head=["", "host", "chunks", "MiB", "any copy", *(["workers"] if with_workers else [])],
            rows=self._legend(with_workers),
        )

    @property
    def _colours(self) -> dict[str, str]:
        # As in the pictures of ``appliance where --plot``: by the place among all hosts.
        return {row.host: colour(place) for place, row in enumerate(self.hosts)}

    def _drawn_cells(self, side: int) -> Iterator[_Cell]:
        colours = self._colours
        for y, row in enumerate(self.cells):
            for x, (coordinates, hosts) in enumerate(row):
                if hosts is None:
                    fill, text = ABSENT, "no object"
                elif hosts:
                    fill, text = colours.get(hosts[0], UNKNOWN), ", ".join(hosts)
                else:
                    fill, text = UNKNOWN, "not known"
                yield _Cell(x * side, y * side, fill, f"{'/'.join(map(str, coordinates))}: {text}")

    def _legend(self, with_workers: bool) -> Iterator[_Row]:
        colours = self._colours
        for row in self.hosts:
            cells = [row.host, f"{row.chunks:,}", f"{row.bytes / 2**20:,.1f}", f"{row.held:,}"]
            yield _Row(colours[row.host], cells + ([f"{row.workers or 0:,}"] if with_workers else []))
        for count, fill, name in ((self.unknown, UNKNOWN, "not known"), (self.absent, ABSENT, "no object")):
            if count:
                yield _Row(fill, [name, f"{count:,}"])
