"""A map of chunks as SVG, HTML and text."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from appliance.placement.colours import colour

if TYPE_CHECKING:
    from appliance.compute.chunkmap import ChunkMap

WIDTH = 640  # pixels
CELL_MAX = 20
GAP = 1
UNKNOWN, ABSENT = "#9a9a9a", "#ffffff"


def _colours(chunks: ChunkMap) -> dict[str, str]:
    """As in the pictures of ``appliance where --plot``: by the place among all hosts."""
    return {row.host: colour(place) for place, row in enumerate(chunks.hosts)}


def svg(chunks: ChunkMap) -> str:
    """The grid of chunks, each coloured by its primary's host; a cell under the pointer tells its hosts."""
    colours = _colours(chunks)
    columns = max((len(row) for row in chunks.cells), default=1)
    cell = min(CELL_MAX, WIDTH // columns)
    parts = []
    for y, row in enumerate(chunks.cells):
        for x, (place, hosts) in enumerate(row):
            fill = ABSENT if hosts is None else colours.get(hosts[0], UNKNOWN) if hosts else UNKNOWN
            said = "no object" if hosts is None else ", ".join(hosts) or "not known"
            parts.append(
                f'<rect x="{x * cell}" y="{y * cell}" width="{cell - GAP}" height="{cell - GAP}" fill="{fill}">'
                f"<title>{'/'.join(map(str, place))}: {escape(said)}</title></rect>"
            )
    size = f'width="{columns * cell}" height="{len(chunks.cells) * cell}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'


def html(chunks: ChunkMap) -> str:
    """The grid with its caption, and a legend with the figures of each host."""
    colours = _colours(chunks)
    head = ["", "host", "chunks", "MiB", "any copy"]
    with_workers = any(row.workers is not None for row in chunks.hosts)
    head += ["workers"] if with_workers else []
    lines = []
    for row in chunks.hosts:
        cells = [row.host, f"{row.chunks:,}", f"{row.bytes / 2**20:,.1f}", f"{row.held:,}"]
        cells += [f"{row.workers or 0:,}"] if with_workers else []
        lines.append(_line(colours[row.host], cells))
    for count, fill, name in ((chunks.unknown, UNKNOWN, "not known"), (chunks.absent, ABSENT, "no object")):
        if count:
            lines.append(_line(fill, [name, f"{count:,}"]))
    titles = "".join(
        f"<th style='text-align:{'left' if i < 2 else 'right'}'>{name}</th>" for i, name in enumerate(head)
    )
    return (
        f"<div><b>{escape(chunks.name)}</b><br>{escape(_caption(chunks))}<br>{svg(chunks)}"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def text(chunks: ChunkMap) -> str:
    """The legend alone."""
    width = max(len(row.host) for row in chunks.hosts) if chunks.hosts else 0
    lines = [
        f"{row.host:{width}}  {row.chunks:,} chunks, {row.bytes / 2**20:,.1f} MiB, a copy of {row.held:,}"
        for row in chunks.hosts
    ]
    for count, name in ((chunks.unknown, "not known where"), (chunks.absent, "no object")):
        if count:
            lines.append(f"{name}: {count:,}")
    return "\n".join([chunks.name, *lines])


def _caption(chunks: ChunkMap) -> str:
    return f"{chunks.caption}. Coloured by the host of the primary copy; map of epoch {chunks.epoch}."


def _line(fill: str, cells: list[str]) -> str:
    square = f"<span style='display:inline-block;width:1em;height:1em;border:1px solid #888;background:{fill}'></span>"
    rest = "".join(
        f"<td style='text-align:{'right' if i else 'left'}'>{escape(cell)}</td>" for i, cell in enumerate(cells)
    )
    return f"<tr><td>{square}</td>{rest}</tr>"
