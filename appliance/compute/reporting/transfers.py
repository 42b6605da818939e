"""What workers send each other, and what they send to the scheduler and to notebooks: counted where it leaves its host.

Sources are the logs that a Dask worker keeps of its transfers (``transfer_incoming_log``, ``transfer_outgoing_log``).
What was received is counted as it lies in memory, what was sent as it was written to the connection, before TLS.
Rechunking and shuffling (distributed's p2p) are not in these logs: their shards are counted where they come in.
Not among it: messages between scheduler and workers, the graph, and a result's second way, from the scheduler to the
notebook.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dask.sizeof import sizeof

from appliance.compute import distributed_parts

if TYPE_CHECKING:
    import prometheus_client
    from distributed import Worker
    from distributed.comm.core import Comm

LogEntry = Mapping[str, Any]
SHARDS_HANDLER = "shuffle_receive"  # what a worker sends shards to, in distributed 2026.8.0
RECEIVED, SENT, RESULTS, SHARDS = "received", "sent", "results", "shards"
DIRECTIONS = {
    RECEIVED: "from workers on other hosts",
    SENT: "to workers on other hosts",
    RESULTS: "to a scheduler on another host, or straight to a client",
    SHARDS: "from workers on other hosts, of data that is rechunked or shuffled",
}


class Transfers:
    """Sums a worker's transfers by direction. For the worker's event loop only.

    Args:
        worker: the Dask worker.
    """

    def __init__(self, worker: Worker):
        self._worker = worker
        self._sums = dict.fromkeys(DIRECTIONS, 0)
        self._seen: dict[str, LogEntry] = {}
        self._watched: object = None
        self._metric = _metric()
        self._complete = distributed_parts.complete(__name__)

    def settle(self) -> dict[str, int]:
        """Return the bytes by direction so far. What stayed on the worker's own host is not among them."""
        if not self._complete:
            return dict(self._sums)
        self._watch_shards()
        for entry in self._fresh("transfer_incoming_log"):
            if not self._here(entry["who"]):
                self._add(RECEIVED, entry["total"])
        for entry in self._fresh("transfer_outgoing_log"):
            # The scheduler gathers without saying who it is; so does a client that has a way to the workers.
            if entry["who"] is None:
                if not self._here(self._worker.scheduler.address):
                    self._add(RESULTS, entry["compressed"] or entry["total"])
            elif not self._here(entry["who"]):
                self._add(SENT, entry["compressed"] or entry["total"])
        return dict(self._sums)

    def _watch_shards(self) -> None:
        """Stand in for the handler of shards, which is there once the worker has met its scheduler."""
        handler = self._worker.handlers.get(SHARDS_HANDLER)
        if handler is None or handler is self._watched:
            return

        async def receive(comm: Comm, **message: Any) -> Any:
            if not self._here(comm.peer_address):
                self._add(SHARDS, sizeof(message.get("data")))
            return await handler(**message)

        self._watched = self._worker.handlers[SHARDS_HANDLER] = receive

    def _fresh(self, name: str) -> Sequence[LogEntry]:
        """Return the entries of a log that were not seen before. It drops its oldest, so counting them would not do."""
        log = getattr(self._worker, name)
        seen = self._seen.get(name)
        fresh = list(_until(reversed(log), seen))
        if fresh:
            self._seen[name] = fresh[0]
        return fresh

    def _here(self, address: str) -> bool:
        return _host(address) == _host(self._worker.address)

    def _add(self, direction: str, nbytes: int) -> None:
        self._sums[direction] += nbytes
        self._metric.labels(direction).inc(nbytes)


def _until(entries: Iterator[LogEntry], seen: LogEntry | None) -> Iterator[LogEntry]:
    for entry in entries:
        if entry is seen:
            return
        yield entry


def _host(address: str) -> str:
    """Return the host of an address such as "tls://10.0.0.1:40000"."""
    return address.rpartition("://")[2].rpartition(":")[0]


@functools.cache
def _metric() -> prometheus_client.Counter:
    """Return a Prometheus counter in the process's registry, which a Dask worker's /metrics shows."""
    from prometheus_client import Counter

    metric = Counter("appliance_transfer_bytes", "Bytes between hosts that are no reads from S3", ["direction"])
    for direction in DIRECTIONS:  # shown from the start, as zero
        metric.labels(direction)
    return metric
