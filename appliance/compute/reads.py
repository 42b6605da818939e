"""The report on a cluster's reads: gathered from its workers by the scheduler, shown in the notebook."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.compute.counters import HERE, KINDS, REPLICA

EXTENSION = "appliance-reads"


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
    """

    host: str
    reads: int
    local: int
    replica: int
    remote: int
    bytes: int
    why: Mapping[str, int]


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

    def __sub__(self, earlier: ReadReport) -> ReadReport:
        before = {row.host: row for row in earlier.rows}
        rows = []
        for row in self.rows:
            old = before.get(row.host, HostReads(row.host, 0, 0, 0, 0, 0, {}))
            why = {kind: n - old.why.get(kind, 0) for kind, n in row.why.items()}
            rows.append(_row(row.host, why, row.bytes - old.bytes))
        return ReadReport(tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """For a machine: the figures of the report, and a list of its rows."""
        rows = [
            {name: getattr(row, name) for name in ("host", "reads", "local", "replica", "remote", "bytes")}
            for row in self.rows
        ]
        return {
            "reads": self.reads,
            "bytes": self.bytes,
            "local_share": self.local_share,
            "balance": self.balance,
            "why_remote": self.why_remote,
            "rows": rows,
        }

    def _lines(self) -> list[tuple[str, ...]]:
        lines: list[tuple[str, ...]] = [
            (row.host, f"{row.reads:,}", f"{row.local:,}", f"{row.replica:,}", f"{row.remote:,}", _mib(row.bytes))
            for row in self.rows
        ]
        local, replica = (sum(getattr(row, name) for row in self.rows) for name in ("local", "replica"))
        sums = (f"{self.reads:,}", f"{local:,}", f"{replica:,}", f"{self.reads - local:,}", _mib(self.bytes))
        lines.append(("all", *sums))
        return lines

    def _sentence(self) -> str:
        if not self.reads:
            return "Nothing was read yet."
        remote = "; ".join(f"{n:,} {KINDS.get(kind, kind)}" for kind, n in self.why_remote.items())
        return (
            f"{100 * self.local_share:.1f} % of {self.reads:,} reads were local; the busiest host read "
            f"{self.balance:.2f} times the mean." + (f" Remote: {remote}." if remote else "")
        )

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


_HEAD = ("host", "reads", "local", "by replica", "remote", "MiB")


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.1f}"


def _row(host: str, why: Mapping[str, int], nbytes: int) -> HostReads:
    reads = sum(why.values())
    local = sum(why.get(kind, 0) for kind in HERE)
    return HostReads(host, reads, local, why.get(REPLICA, 0), reads - local, nbytes, dict(why))


def build(counts: Iterable[Mapping[str, Any]]) -> ReadReport:
    """Sum the counts of workers (see ``ReadCounter.settle``) to a report with a row for each host."""
    why: dict[str, Counter[str]] = {}
    nbytes: Counter[str] = Counter()
    for count in counts:
        if count:
            why.setdefault(count["host"], Counter()).update(count["reads"])
            nbytes[count["host"]] += sum(count["bytes"].values())
    return ReadReport(tuple(_row(host, why[host], nbytes[host]) for host in sorted(why)))


class SchedulerReads:
    """The scheduler's memory of what its workers read, those that are gone among them."""

    def __init__(self, scheduler: Any):
        self._scheduler = scheduler
        self._last: dict[str, dict[str, Any]] = {}

    def heartbeat(self, ws: Any, data: dict[str, Any]) -> None:
        """Called by the scheduler for each heartbeat of a worker that sends counts."""
        if data:
            # The id is one worker's for its life, while an address may be used again.
            self._last[ws.server_id] = data

    async def gather(self) -> list[dict[str, Any]]:
        """The counts of all workers: of those that run as of now, of those that are gone as of their last heartbeat."""
        ids = {address: ws.server_id for address, ws in self._scheduler.workers.items()}
        answers = await self._scheduler.broadcast(msg={"op": EXTENSION}, on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, dict) and answer.get("host") and address in ids:
                self._last[ids[address]] = answer
        return list(self._last.values())


def gather_on(scheduler: Any) -> None:
    """Make a scheduler gather what its workers read."""
    gathered = SchedulerReads(scheduler)
    scheduler.extensions[EXTENSION] = gathered
    scheduler.handlers[EXTENSION.replace("-", "_")] = gathered.gather


def collect(client: Any = None) -> ReadReport:
    """See ``appliance.compute.report``."""
    if client is None:
        from distributed import default_client

        client = default_client()
    asked = getattr(client.scheduler, EXTENSION.replace("-", "_"))
    try:
        counts = client.sync(asked)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"The cluster behind {client!r} does not count reads; start it through the Gateway."
        ) from error
    return build(counts)
