"""The report on what a cluster read: its figures, and how a notebook shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.compute.reading.read_counter import HERE, REPLICA, ReadCounts
from appliance.compute.reporting.reasons import REASONS, why_remote
from appliance.compute.reporting.templates import render
from appliance.compute.reporting.transfers import RECEIVED, RESULTS, SENT, SHARDS
from appliance.compute.scheduling.expectations import ExpectedReads


class WorkerCounts(ReadCounts, total=False):
    """The counts of one worker: what it read, its transfers by direction, and its reads as they were expected."""

    transfers: Mapping[str, int]
    expected: ExpectedReads


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
        by_kind: objects read by kind, see ``appliance.compute.reading.read_counter.KINDS``.
        bytes_by_kind: likewise their bytes.
        transfers: bytes to and from other machines that are no reads, see ``reporting.transfers.DIRECTIONS``.
        expected: reads as the scheduler expected them, see ``appliance.compute.scheduling.expectations``.
    """

    host: str
    reads: int
    local: int
    replica: int
    remote: int
    bytes: int
    by_kind: Mapping[str, int]
    bytes_by_kind: Mapping[str, int] = field(default_factory=dict)
    transfers: Mapping[str, int] = field(default_factory=dict)
    expected: ExpectedReads = field(default_factory=dict)

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
        """Remote reads by reason, see ``appliance.compute.reporting.reasons.REASONS``."""
        return why_remote(self.by_kind, self.expected)


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
            why.update({kind: n for kind, n in row.by_kind.items() if kind not in HERE and n})
        return dict(why)

    @property
    def reasons(self) -> dict[str, int]:
        """Reads that were not local, by reason, see ``appliance.compute.reporting.reasons.REASONS``."""
        why = sum((Counter(row.reasons) for row in self.rows), Counter())
        return {reason: why[reason] for reason in REASONS if why[reason]}

    @property
    def wire_bytes(self) -> int:
        """Bytes that crossed the network for the analysis, each counted once.

        Remote reads, results that workers sent to workers on other hosts and to a scheduler on another host, and what
        came in of data that is rechunked or shuffled. Not among them: Ceph's copies of what was written, messages of
        Dask's, the graph, a result's way from the scheduler to the notebook, and what TLS and TCP add. A remote read
        counts once, though it may take two steps, from the disk's host to a gateway's and from there to the worker's.
        A read counts as local by the map; of data that was just written, Ceph may still read the primary's copy over
        the network.
        """
        return sum(row.remote_bytes + row.bytes_out + row.transfers.get(SHARDS, 0) for row in self.rows)

    def __sub__(self, earlier: ReadReport) -> ReadReport:
        before = {row.host: row for row in earlier.rows}
        rows = []
        for row in self.rows:
            old = before.get(row.host, _row(row.host, {}, {}, {}, {}))
            names = ("by_kind", "bytes_by_kind", "transfers", "expected")
            rows.append(_row(row.host, *(_less(getattr(row, name), getattr(old, name)) for name in names)))
        return ReadReport(tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of the report, and a list of its rows, for ``json.dumps``."""
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
        """Return the table's lines: one for each host, and the sums."""
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
        return render("report.html.j2", head=_HEAD, lines=self._lines(), sentence=self._sentence())


_HEAD = ("host", "reads", "local", "by replica", "remote", "MiB read", "MiB in", "MiB out")
_COUNTS = ("reads", "local", "replica", "remote")
_BYTES = ("bytes", "bytes_in", "bytes_out")


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.1f}"


def _less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in now.items()}


def _row(
    host: str,
    by_kind: Mapping[str, int],
    bytes_by_kind: Mapping[str, int],
    transfers: Mapping[str, int],
    expected: ExpectedReads,
) -> HostReads:
    reads = sum(by_kind.values())
    local = sum(by_kind.get(kind, 0) for kind in HERE)
    figures = (reads, local, by_kind.get(REPLICA, 0), reads - local, sum(bytes_by_kind.values()))
    return HostReads(host, *figures, dict(by_kind), dict(bytes_by_kind), dict(transfers), dict(expected))


def build(counts: Iterable[WorkerCounts]) -> ReadReport:
    """Return the report of these workers, with a row for each host."""
    sums: dict[str, tuple[Counter[str], ...]] = {}
    for count in counts:
        parts = (count["reads"], count["bytes"], count.get("transfers", {}), count.get("expected", {}))
        totals = sums.setdefault(count["host"], tuple(Counter() for _ in parts))
        for total, part in zip(totals, parts, strict=True):
            total.update(part)
    return ReadReport(tuple(_row(host, *sums[host]) for host in sorted(sums)))
