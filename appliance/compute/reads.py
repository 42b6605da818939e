"""The report on what a cluster read: its figures, and how a notebook shows them."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.compute.counters import HERE, REPLICA
from appliance.compute.reasons import REASONS, Foresight, why_remote
from appliance.compute.transfers import RECEIVED, RESULTS, SENT, SHARDS


@dataclass(frozen=True)
class HostReads:
    """What the workers of one host read.

    Attributes:
        host: its name in the inventory.
        reads: objects read.
        local: of these, from this host's own disks.
        replica: of the local ones, those of which another host holds the primary copy.
        remote: the others.
        bytes: bytes read, as they came from S3.
        why: objects read by kind, see ``appliance.compute.counters.KINDS``.
        bytes_by_kind: likewise their bytes.
        transfers: bytes to and from other machines that are no reads, see ``appliance.compute.transfers.DIRECTIONS``.
        foresight: reads as the scheduler expected them, see ``appliance.compute.reasons``.
    """

    host: str
    reads: int
    local: int
    replica: int
    remote: int
    bytes: int
    why: Mapping[str, int]
    bytes_by_kind: Mapping[str, int] = field(default_factory=dict)
    transfers: Mapping[str, int] = field(default_factory=dict)
    foresight: Foresight = field(default_factory=dict)

    @property
    def remote_bytes(self) -> int:
        """Bytes read that were not local."""
        return sum(nbytes for kind, nbytes in self.bytes_by_kind.items() if kind not in HERE)

    @property
    def bytes_in(self) -> int:
        """Bytes that came in over its card: remote reads, results of workers on other hosts, shards of a rechunk."""
        return self.remote_bytes + self.transfers.get(RECEIVED, 0) + self.transfers.get(SHARDS, 0)

    @property
    def bytes_out(self) -> int:
        """Bytes that its workers sent over its card: their results, to other hosts' workers and to the scheduler.

        Shards of a rechunk are known where they come in, and not here.
        """
        return self.transfers.get(SENT, 0) + self.transfers.get(RESULTS, 0)

    @property
    def reasons(self) -> dict[str, int]:
        """Remote reads by reason, see ``appliance.compute.reasons.REASONS``."""
        return why_remote(self.why, self.foresight)


@dataclass(frozen=True)
class ReadReport:
    """What a cluster read so far. Subtract an earlier report for what happened in between."""

    rows: tuple[HostReads, ...]

    @property
    def reads(self) -> int:
        """Objects read."""
        return sum(row.reads for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes read."""
        return sum(row.bytes for row in self.rows)

    @property
    def local_share(self) -> float:
        """Part of the reads that were local, 0 to 1; 1 where nothing was read."""
        return sum(row.local for row in self.rows) / self.reads if self.reads else 1.0

    @property
    def balance(self) -> float:
        """Bytes of the host that read most, as a multiple of the mean over the hosts with workers; 1 is even."""
        return max(row.bytes for row in self.rows) * len(self.rows) / self.bytes if self.bytes else 1.0

    @property
    def why_remote(self) -> dict[str, int]:
        """Reads that were not local, by kind."""
        why: Counter[str] = Counter()
        for row in self.rows:
            why.update({kind: n for kind, n in row.why.items() if kind not in HERE and n})
        return dict(why)

    @property
    def reasons(self) -> dict[str, int]:
        """Reads that were not local, by reason, see ``appliance.compute.reasons.REASONS``."""
        why = sum((Counter(row.reasons) for row in self.rows), Counter())
        return {reason: why[reason] for reason in REASONS if why[reason]}

    @property
    def wire_bytes(self) -> int:
        """Bytes that crossed the network for the analysis, each counted once.

        Remote reads, results that workers sent to workers on other hosts and to a scheduler on another host, and what
        came in of data that is rechunked or shuffled. Not
        among them: Ceph's copies of what was written, messages of Dask's, the graph, a result's way from the scheduler
        to the notebook, and what TLS and TCP add. A remote read counts once, though it may take two steps, from the
        disk's host to a gateway's and from there to the worker's. A read counts as local by the map; of data that was
        just written, Ceph may still read the primary's copy over the network.
        """
        return sum(row.remote_bytes + row.bytes_out + row.transfers.get(SHARDS, 0) for row in self.rows)

    def __sub__(self, earlier: ReadReport) -> ReadReport:
        before = {row.host: row for row in earlier.rows}
        rows = []
        for row in self.rows:
            old = before.get(row.host, _row(row.host, {}, {}, {}, {}))
            names = ("why", "bytes_by_kind", "transfers", "foresight")
            rows.append(_row(row.host, *(_less(getattr(row, name), getattr(old, name)) for name in names)))
        return ReadReport(tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """For a machine: the figures of the report, and a list of its rows."""
        names = ("host", "reads", "local", "replica", "remote", "bytes", "bytes_in", "bytes_out", "reasons")
        rows = [{name: getattr(row, name) for name in names} for row in self.rows]
        return {
            "reads": self.reads,
            "bytes": self.bytes,
            "local_share": self.local_share,
            "balance": self.balance,
            "wire_bytes": self.wire_bytes,
            "why_remote": self.why_remote,
            "reasons": self.reasons,
            "rows": rows,
        }

    def _lines(self) -> list[tuple[str, ...]]:
        sums = [sum(getattr(row, name) for row in self.rows) for name in (*_COUNTS, *_BYTES)]
        rows = [(row.host, [getattr(row, name) for name in (*_COUNTS, *_BYTES)]) for row in self.rows]
        lines: list[tuple[str, ...]] = []
        for host, figures in [*rows, ("all", sums)]:
            counts, nbytes = figures[: len(_COUNTS)], figures[len(_COUNTS) :]
            lines.append((host, *(f"{n:,}" for n in counts), *map(_mib, nbytes)))
        return lines

    @property
    def summary(self) -> str:
        """The report's figures in a sentence."""
        if not self.reads:
            return "Nothing was read yet."
        return (
            f"{100 * self.local_share:.1f} % of {self.reads:,} reads were local; the busiest host read "
            f"{self.balance:.2f} times the mean; {_mib(self.wire_bytes)} MiB crossed the network."
        )

    def _sentence(self) -> str:
        remote = "; ".join(f"{n:,} {reason} ({REASONS[reason]})" for reason, n in self.reasons.items())
        return self.summary + (f" Remote: {remote}." if remote else "")

    def __str__(self) -> str:
        lines = [_HEAD, *self._lines()]
        width = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
        text = [
            "  ".join([line[0].ljust(width[0])] + [c.rjust(w) for c, w in zip(line[1:], width[1:], strict=True)])
            for line in lines
        ]
        return "\n".join([*text, self._sentence()])

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:{'right' if i else 'left'}'>{name}</th>" for i, name in enumerate(_HEAD))
        body = ""
        for line in self._lines():
            style = "border-top:1px solid;font-weight:bold" if line[0] == "all" else ""
            cells = f"<td style='text-align:left'>{html.escape(line[0])}</td>"
            cells += "".join(f"<td style='text-align:right'>{cell}</td>" for cell in line[1:])
            body += f"<tr style='{style}'>{cells}</tr>"
        return (
            f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>{html.escape(self._sentence())}</p></div>"
        )


_HEAD = ("host", "reads", "local", "by replica", "remote", "MiB read", "MiB in", "MiB out")
_COUNTS = ("reads", "local", "replica", "remote")
_BYTES = ("bytes", "bytes_in", "bytes_out")


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.1f}"


def _less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in now.items()}


def _row(
    host: str,
    why: Mapping[str, int],
    bytes_by_kind: Mapping[str, int],
    transfers: Mapping[str, int],
    foresight: Foresight,
) -> HostReads:
    reads = sum(why.values())
    local = sum(why.get(kind, 0) for kind in HERE)
    figures = (reads, local, why.get(REPLICA, 0), reads - local, sum(bytes_by_kind.values()))
    return HostReads(host, *figures, dict(why), dict(bytes_by_kind), dict(transfers), dict(foresight))


def build(counts: Iterable[Mapping[str, Any]]) -> ReadReport:
    """Sum the counts of workers to a report with a row for each host.

    Args:
        counts: for each worker what ``ReadCounter.settle`` tells, with ``transfers`` (``Transfers.settle``) and
            ``foresight`` (``Foreseen.of``) where these are known.
    """
    parts = ("reads", "bytes", "transfers", "foresight")
    sums: dict[str, tuple[Counter[str], ...]] = {}
    for count in counts:
        if count:
            for total, part in zip(sums.setdefault(count["host"], tuple(Counter() for _ in parts)), parts, strict=True):
                total.update(count.get(part, {}))
    return ReadReport(tuple(_row(host, *sums[host]) for host in sorted(sums)))
