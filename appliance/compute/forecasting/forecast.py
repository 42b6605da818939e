"""What an analysis will need, as a value: its figures, what they rest on, advice, and how a notebook shows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from appliance.compute.reporting.templates import render


@dataclass(frozen=True)
class Forecast:
    """What an analysis will need. None stands for what is not known, and ``unknown`` says why.

    Attributes:
        tasks: tasks of the graph, after Dask's optimisation.
        reads: requests for objects, or for ranges of them.
        objects: objects, or ranges, of which something is read.
        bytes: bytes of these reads as they lie in S3, before decompression.
        bytes_error: how far off they may be, in parts of them, at 95 %; 0 where no size was estimated.
        local_share: part of the reads that will be local, 0 to 1, if no host helps another.
        seconds: from ``compute()`` to its result.
        seconds_at_least: whether some tasks' time is not known, so that it will be more.
        memory: bytes of the worker that will need most, with what it holds already.
        memory_at_least: whether some tasks' memory is not known, so that it will be more.
        memory_limit: bytes that this worker may have; None where there is no limit.
        held: the most bytes that all workers will hold together.
        result_bytes: bytes of the result, which goes to the notebook.
        moved_bytes: bytes that workers will send each other.
        workers: workers of the cluster now.
        advice: what to do otherwise, in sentences.
        unknown: what is not known, and why.
        basis: what the figures rest on.
    """

    tasks: int
    reads: int
    objects: int
    bytes: int
    bytes_error: float = 0.0
    local_share: float | None = None
    seconds: float | None = None
    seconds_at_least: bool = False
    memory: int | None = None
    memory_at_least: bool = False
    memory_limit: int | None = None
    held: int | None = None
    result_bytes: int | None = None
    moved_bytes: int | None = None
    workers: int = 0
    advice: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    basis: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for ``json.dumps``."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def _lines(self) -> list[tuple[str, str, str]]:
        """Return name, figure and remark of each row."""
        many = f"{self.objects:,} objects or parts of files"
        if self.reads != self.objects:
            many += f", {self.reads:,} reads"
        off = f", give or take {100 * self.bytes_error:.1f} %" if self.bytes_error else ""
        limit = f", of {size(self.memory_limit)} that it may have" if self.memory_limit else ""
        return [
            ("bytes to read", size(self.bytes), many + off),
            ("local share", _known(self.local_share, lambda share: f"{100 * share:.1f} %"), "of the reads"),
            ("time", _least(self.seconds_at_least) + _known(self.seconds, duration), f"on {self.workers:,} workers"),
            ("peak memory", _least(self.memory_at_least) + _known(self.memory, size), f"of the fullest worker{limit}"),
            ("between workers", _known(self.moved_bytes, size), "apart from reads"),
            ("result", _known(self.result_bytes, size), f"of {self.tasks:,} tasks"),
        ]

    def _lists(self) -> list[tuple[str, tuple[str, ...]]]:
        named = (("Advice", self.advice), ("Not known", self.unknown), ("Rests on", self.basis))
        return [(title, sentences) for title, sentences in named if sentences]

    def __str__(self) -> str:
        rows = self._lines()
        width = [max(len(row[column]) for row in rows) for column in (0, 1)]
        text = [f"{name:{width[0]}}  {figure:>{width[1]}}  {remark}" for name, figure, remark in rows]
        for title, sentences in self._lists():
            text += [f"{title}:", *(f"- {sentence}" for sentence in sentences)]
        return "\n".join(text)

    def _repr_html_(self) -> str:
        return render("forecast.html.j2", rows=self._lines(), lists=self._lists())


def size(nbytes: float) -> str:
    """Return bytes for people: in MiB, or in GiB where there are many."""
    return f"{nbytes / 2**30:,.1f} GiB" if nbytes >= 10 * 2**30 else f"{nbytes / 2**20:,.1f} MiB"


def duration(seconds: float) -> str:
    """Return seconds for people."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.1f} s"


def _least(is_least: bool) -> str:
    return "at least " if is_least else ""


def _known(value: Any, shown: Any) -> str:
    return "not known" if value is None else str(shown(value))
