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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from appliance.compute.places import Ranges

# What a read was. "unplaced": no map said where the object is; it is never counted as local.
LOCAL, REPLICA, ELSEWHERE, FALLBACK, UNPLACED = "local", "replica", "elsewhere", "fallback", "unplaced"
SPREAD, ERASURE = "spread", "erasure"
KINDS = {
    LOCAL: "served by this host's gateway from this host's disk",
    REPLICA: "likewise, where another host holds the primary copy",
    ELSEWHERE: "served by this host's gateway, the object lies on other hosts",
    SPREAD: "likewise, a range of an object of which no host holds all",
    FALLBACK: "served by another host's gateway",
    ERASURE: "in an erasure-coded pool, where no host holds a whole object",
    UNPLACED: "no placement map said where the object lies",
}
NO_HOST = ""
HERE = (LOCAL, REPLICA)  # kinds of read that cross no network
PENDING_MAX = 100_000  # reads that wait for a map; beyond it they count as unplaced


class Placement(Protocol):
    """What is asked of ``appliance.placement.PlacementMap``."""

    def hosts(self, bucket: str, keys: list[str]) -> list[tuple[str, ...]]: ...

    def pool_of(self, bucket: str) -> Any: ...


def this_host() -> str:
    """The name under which this machine stands in the inventory, and so in the map."""
    return os.environ.get("APPLIANCE_HOST") or socket.gethostname()


@dataclass(frozen=True, slots=True)
class Pending:
    """A read by this host's own gateway, of which the map has still to say where it lies."""

    bucket: str
    key: str
    offset: int
    nbytes: int
    in_parts: bool  # the object's place depends on the offset


class ReadCounter:
    """Counts reads by kind. Safe to use from any thread.

    Args:
        host: this machine's name in the map.
        placement: returns the map for a bucket, or raises; called from ``settle`` only.
        ranges: returns what places ranges of objects that lie in several pieces, or raises; likewise.
    """

    def __init__(self, host: str, placement: Callable[[str], Placement], ranges: Callable[[], Ranges]):
        self.host = host
        self._placement = placement
        self._ranges = ranges
        self._lock = threading.Lock()
        self._settling = threading.Lock()
        self._pending: list[Pending] = []
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
                self._pending.append(Pending(bucket, key, offset, nbytes, in_parts))
            else:
                self._count(UNPLACED, 1, nbytes)

    def settle(self) -> dict[str, Any]:
        """Decide what the noted reads were, and return all counts so far. May ask for the map: not for an event loop.

        Returns:
            ``{"host": name, "reads": {kind: n}, "bytes": {kind: n}}``
        """
        with self._settling:  # or whoever asks while another still asks for the map would miss what that one took
            with self._lock:
                pending, self._pending = self._pending, []
            kinds = self._kinds(pending)
            with self._lock:
                for read, kind in zip(pending, kinds, strict=True):
                    self._count(kind, 1, read.nbytes)
                return {"host": self.host, "reads": dict(self._reads), "bytes": dict(self._bytes)}

    def _kinds(self, pending: list[Pending]) -> list[str]:
        kinds = [UNPLACED] * len(pending)
        for bucket, in_parts in {(read.bucket, read.in_parts) for read in pending}:
            at = [i for i, read in enumerate(pending) if (read.bucket, read.in_parts) == (bucket, in_parts)]
            with contextlib.suppress(Exception):  # without a map there is nothing to say; the kind says so
                reads = [pending[i] for i in at]
                for i, holders in zip(at, self._holders(bucket, in_parts, reads), strict=True):
                    if self.host in holders:
                        kinds[i] = LOCAL if holders[0] == self.host else REPLICA
                    elif holders:
                        kinds[i] = SPREAD if NO_HOST in holders else ELSEWHERE
                unknown = [i for i in at if kinds[i] == UNPLACED]
                if unknown and self._placement(bucket).pool_of(bucket).erasure:
                    for i in unknown:
                        kinds[i] = ERASURE
        return kinds

    def _holders(self, bucket: str, in_parts: bool, reads: Sequence[Pending]) -> Sequence[Sequence[str]]:
        """The hosts that hold all of each read, the primary's first; empty where nobody knows any."""
        if not in_parts:
            return self._placement(bucket).hosts(bucket, [read.key for read in reads])
        shares = self._ranges().hosts_of_ranges(bucket, [(read.key, read.offset, read.nbytes) for read in reads])
        # No host may hold all of a range; whoever holds a part of it still says that its place is known.
        return [
            [host for host, nbytes in held if nbytes >= read.nbytes] or [NO_HOST] * bool(held)
            for held, read in zip(shares, reads, strict=True)
        ]

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


def maps() -> Any:
    """This process's client of the placement service. Raises KeyError where its environment names none."""
    if "maps" not in _made:
        from appliance.placement import MapClient

        _made["maps"] = MapClient(os.environ["APPLIANCE_PLACEMENT_URL"], retry_after=10.0)
    return _made["maps"]


def _placement(bucket: str) -> Placement:
    placement: Placement = maps().get(bucket)
    return placement


def ranges() -> Ranges:
    """What places ranges of objects for this process. Raises as ``maps`` and ``Heads.from_environment`` do."""
    if "ranges" not in _made:
        from appliance.placement import Heads
        from appliance.placement import Ranges as PlacedRanges

        _made["ranges"] = PlacedRanges(maps(), Heads.from_environment())
    made: Ranges = _made["ranges"]
    return made


def counter() -> ReadCounter:
    """The counter of this process."""
    if "counter" not in _made:
        _made["counter"] = ReadCounter(this_host(), _placement, ranges)
    made: ReadCounter = _made["counter"]
    return made
