"""The report on a researcher's limits: its rows, and how a notebook and a terminal show them."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from appliance.quota import facility, server

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
BYTES = "bytes"
NEARLY_FULL = 0.9


@dataclass(frozen=True)
class Limit:
    """One limit.

    Attributes:
        what: what it limits, in words.
        used: how much of it is in use; None where that is not known.
        most: the limit; None where there is none.
        unit: `BYTES`, or nothing for a number.
        way_out: what to do where it is full.
    """

    what: str
    used: float | None
    most: float | None
    unit: str
    way_out: str

    @property
    def share(self) -> float | None:
        """How full it is, 1 being full."""
        return None if self.used is None or not self.most else self.used / self.most

    def cells(self) -> tuple[str, str, str, str]:
        """Return what, used, limit, share as texts."""
        share = "" if self.share is None else f"{100 * self.share:.0f} %"
        used = "?" if self.used is None else _amount(self.used, self.unit)
        return self.what, used, "none" if self.most is None else _amount(self.most, self.unit), share


def _amount(value: float, unit: str) -> str:
    if unit != BYTES:
        return f"{value:,.0f}".replace(",", " ")
    step = 0
    while value >= 1024 and step < len(_UNITS) - 1:
        value, step = value / 1024, step + 1
    return f"{value:.{0 if step == 0 else 1}f} {_UNITS[step]}"


@dataclass(frozen=True)
class QuotaReport:
    """All limits of a researcher, and what could not be asked, with the reason."""

    limits: tuple[Limit, ...]
    unanswered: tuple[str, ...] = ()

    @property
    def full(self) -> tuple[Limit, ...]:
        """Those that are full, or nearly."""
        return tuple(limit for limit in self.limits if limit.share is not None and limit.share >= NEARLY_FULL)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for a program."""
        return {"limits": [asdict(limit) for limit in self.limits], "unanswered": list(self.unanswered)}

    def __str__(self) -> str:
        rows = [("limit of", "used", "most", "full"), *(limit.cells() for limit in self.limits)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*lines, "", *self._notes()])

    def _repr_html_(self) -> str:
        def row(tag: str, cells: tuple[str, ...]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row("td", limit.cells()) for limit in self.limits)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<table>{row('th', ('limit of', 'used', 'most', 'full'))}{body}</table>{notes}"

    def _notes(self) -> Iterator[str]:
        for limit in self.full:
            yield f"{limit.what}: {'full' if (limit.share or 0) >= 1 else 'nearly full'}. {limit.way_out}"
        if not self.full:
            yield "Nothing is nearly full. `appliance quota --ways-out` tells what to do where something is."
        yield from self.unanswered

    def ways_out(self) -> str:
        """Return what to do where each limit is reached."""
        return "\n".join(f"{limit.what}: {limit.way_out}" for limit in self.limits)


def report() -> QuotaReport:
    """Ask S3, the gateway of Dask clusters and this machine; what does not answer stands in the report as such."""
    limits: list[Limit] = []
    unanswered: list[str] = []
    parts: tuple[tuple[str, Callable[[], Iterator[Limit]]], ...] = (
        ("S3", _storage),
        ("the gateway of Dask clusters", _clusters),
        ("this machine", _server),
    )
    for name, part in parts:
        try:
            limits += part()
        except (facility.NotToldError, OSError) as error:
            unanswered.append(f"{name} did not answer: {error}")
    return QuotaReport(tuple(limits), tuple(unanswered))


def _storage() -> Iterator[Limit]:
    told = facility.storage()
    ask = "or ask your operators for more"
    way_out = f"Until then writes end with QuotaExceeded. Delete objects that you do not need (`fs.rm(…)`), {ask}."
    yield Limit("bytes in S3", told.bytes, told.bytes_max, BYTES, way_out)
    yield Limit("objects in S3", told.objects, told.objects_max, "", f"{way_out} Larger chunks are fewer objects.")
    way_out = f"Until then a new bucket is refused with TooManyBuckets. Delete a bucket, {ask}."
    yield Limit("buckets", told.buckets, told.buckets_max, "", way_out)


def _clusters() -> Iterator[Limit]:
    used, most = facility.allowance()
    end = "Gateway().list_clusters() shows your clusters; shut one down, or scale it down"
    for name in ("clusters", "workers", "cores", "memory"):
        unit = BYTES if name == "memory" else ""
        what = {"clusters": "Dask clusters", "workers": "their workers", "cores": "their cores"}.get(
            name, "their memory"
        )
        yield Limit(what, used[name], most[name] if most else None, unit, f"Until then more is refused. {end}.")


def _server() -> Iterator[Limit]:
    way_out = "It has no limit of its own yet, it is on the machine's disk. What workers shall read belongs into S3."
    yield Limit("home (all homes' disk)", *server.disk(server.home()), BYTES, way_out)
    for path in server.temporary_directories():
        way_out = f"Until then writes end with ENOSPC (No space left on device). Delete files in {path}; it is memory."
        yield Limit(path, *server.disk(path), BYTES, way_out)
    memory = server.limit("memory")
    if memory:
        way_out = "Beyond it a kernel is ended. Close notebooks, and work on large data in a Dask cluster."
        yield Limit("memory of this server", memory.used, memory.most, BYTES, way_out)
    tasks = server.limit("pids")
    if tasks:
        way_out = "Beyond it no process or thread starts (EAGAIN). Restart kernels that started many."
        yield Limit("processes and threads", tasks.used, tasks.most, "", way_out)
