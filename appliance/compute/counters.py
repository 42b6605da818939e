"""Counts of what this process read from S3: from its own host's disks, or over the network.

A read is local if this host's own RGW served it *and* this host is in the object's acting set. The first is known
from the response, the second from the placement map, which is asked in bulk and never while a read waits.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

# What a read was. "unplaced": no map said where the object is; it is never counted as local.
LOCAL, ELSEWHERE, FALLBACK, UNPLACED = "local", "elsewhere", "fallback", "unplaced"
KINDS = {
    LOCAL: "served by this host's gateway from this host's disk",
    ELSEWHERE: "served by this host's gateway, the object lies on other hosts",
    FALLBACK: "served by another host's gateway",
    UNPLACED: "no placement map said where the object lies",
}
PENDING_MAX = 100_000  # reads that wait for a map; beyond it they count as unplaced


class Placement(Protocol):
    """What is asked of ``appliance.placement.PlacementMap``."""

    def hosts(self, bucket: str, keys: list[str]) -> list[tuple[str, ...]]: ...

    def hosts_of_ranges(self, bucket: str, ranges: list[tuple[str, int, int]]) -> list[tuple[str, ...]]: ...


def this_host() -> str:
    """The name under which this machine stands in the inventory, and so in the map."""
    return os.environ.get("APPLIANCE_HOST") or socket.gethostname()


class ReadCounter:
    """Counts reads by kind. Safe to use from any thread.

    Args:
        host: this machine's name in the map.
        placement: returns the map for a bucket, or raises; called from ``settle`` only.
    """

    def __init__(self, host: str, placement: Callable[[str], Placement]):
        self.host = host
        self._placement = placement
        self._lock = threading.Lock()
        self._pending: list[tuple[str, str, int, int, bool]] = []
        self._reads: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._metrics = _metrics()

    def add(self, bucket: str, key: str, nbytes: int, served_by: str, offset: int = 0, in_parts: bool = False) -> None:
        """Note one read of ``nbytes`` bytes from ``offset`` in the object on.

        ``served_by`` is the host whose gateway answered, "" if it did not say; ``in_parts`` says that the object's
        place depends on the offset.
        """
        with self._lock:
            if served_by != self.host:
                self._count(FALLBACK, 1, nbytes)
            elif len(self._pending) < PENDING_MAX:
                self._pending.append((bucket, key, offset, nbytes, in_parts))
            else:
                self._count(UNPLACED, 1, nbytes)

    def settle(self) -> dict[str, Any]:
        """Decide what the noted reads were, and return all counts so far. May ask for the map: not for an event loop.

        Returns:
            ``{"host": name, "reads": {kind: n}, "bytes": {kind: n}}``
        """
        with self._lock:
            pending, self._pending = self._pending, []
        kinds = self._kinds(pending)
        with self._lock:
            for (_, _, _, nbytes, _), kind in zip(pending, kinds, strict=True):
                self._count(kind, 1, nbytes)
            return {"host": self.host, "reads": dict(self._reads), "bytes": dict(self._bytes)}

    def _kinds(self, pending: list[tuple[str, str, int, int, bool]]) -> list[str]:
        kinds = [UNPLACED] * len(pending)
        for bucket, in_parts in {(read[0], read[4]) for read in pending}:
            at = [i for i, read in enumerate(pending) if (read[0], read[4]) == (bucket, in_parts)]
            with contextlib.suppress(Exception):  # without a map there is nothing to say; the kind says so
                placement = self._placement(bucket)
                if in_parts:
                    placed = placement.hosts_of_ranges(bucket, [pending[i][1:4] for i in at])
                else:
                    placed = placement.hosts(bucket, [pending[i][1] for i in at])
                for i, hosts in zip(at, placed, strict=True):
                    if hosts:
                        kinds[i] = LOCAL if self.host in hosts else ELSEWHERE
        return kinds

    def _count(self, kind: str, reads: int, nbytes: int) -> None:
        self._reads[kind] += reads
        self._bytes[kind] += nbytes
        if self._metrics is not None:
            self._metrics[0].labels(kind).inc(reads)
            self._metrics[1].labels(kind).inc(nbytes)


_made: dict[str, Any] = {}


def _metrics() -> tuple[Any, Any] | None:
    """Prometheus counters in the process's registry, which a Dask worker's /metrics shows."""
    if "metrics" not in _made:
        _made["metrics"] = None
        with contextlib.suppress(ImportError):
            from prometheus_client import Counter as PrometheusCounter

            _made["metrics"] = (
                PrometheusCounter("appliance_s3_reads", "Objects read from S3, by where they came from", ["kind"]),
                PrometheusCounter("appliance_s3_read_bytes", "Bytes read from S3, by where they came from", ["kind"]),
            )
    return _made["metrics"]  # type: ignore[no-any-return]


def _placement(bucket: str) -> Placement:
    if "maps" not in _made:
        from appliance.placement import MapClient

        _made["maps"] = MapClient(os.environ["APPLIANCE_PLACEMENT_URL"], retry_after=10.0)
    placement: Placement = _made["maps"].get(bucket)
    return placement


def counter() -> ReadCounter:
    """The counter of this process."""
    if "counter" not in _made:
        _made["counter"] = ReadCounter(this_host(), _placement)
    made: ReadCounter = _made["counter"]
    return made
