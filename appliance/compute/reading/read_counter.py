"""Counts what this process read from S3: from its own host's disks, or over the network.

A read is local if this host's own RGW served it *and* this host is in the object's acting set. The first is known
from the response, the second from the placement map, which is asked in bulk and never while a read waits.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from appliance.compute.reading import placement_access
from appliance.placement.model.rados_names import in_parts

if TYPE_CHECKING:
    import prometheus_client

    from appliance.placement import PlacementMap, Ranges

# What a read was. "unplaced": no map said where the object is; it is never counted as local.
LOCAL, REPLICA, ELSEWHERE, FALLBACK, UNPLACED = "local", "replica", "elsewhere", "fallback", "unplaced"
SPREAD, ERASURE = "spread", "erasure"
KINDS = {
    LOCAL: "served by this host's gateway from this host's disk",
    REPLICA: "likewise, where another host holds the primary copy",
    ELSEWHERE: "served by this host's gateway, the object lies on other hosts",
    SPREAD: "likewise, a range of an object of which no host holds all",
    FALLBACK: "served by another host's gateway",
    ERASURE: "in an erasure-coded pool, where no host holds a complete object",
    UNPLACED: "no placement map said where the object lies",
}
NO_HOST = ""
HERE = (LOCAL, REPLICA)  # kinds of read that cross no network
PENDING_MAX = 100_000  # reads that wait for a map; beyond it they count as unplaced


def this_host() -> str:
    """Return the name under which this machine stands in the inventory, and so in the map."""
    return os.environ.get("APPLIANCE_HOST") or socket.gethostname()


class ReadCounts(TypedDict):
    """The counts of one process: its host, and reads and bytes by kind (``KINDS``)."""

    host: str
    reads: dict[str, int]
    bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class PendingRead:
    """A read by this host's own gateway, of which the map has still to say where it lies."""

    bucket: str
    key: str
    nbytes: int
    offset: int
    size: int  # of the object
    etag: str


class ReadCounter:
    """Counts reads by kind. Safe to use from any thread.

    Args:
        host: this machine's name in the map.
        placement: returns the map for a bucket, or raises; called from ``settle`` only.
        ranges: returns what places ranges of objects that lie in several pieces, or raises; likewise.
    """

    def __init__(self, host: str, placement: Callable[[str], PlacementMap], ranges: Callable[[], Ranges]):
        self.host = host
        self._placement = placement
        self._ranges = ranges
        self._lock = threading.Lock()
        self._settling = threading.Lock()
        self._pending: list[PendingRead] = []
        self._reads: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._metrics = _metrics()

    def add(
        self, bucket: str, key: str, nbytes: int, served_by: str, offset: int = 0, size: int = 0, etag: str = ""
    ) -> None:
        """Note one read.

        Args:
            bucket: the object's bucket.
            key: its key.
            nbytes: bytes that were read.
            served_by: the host whose gateway answered, "" if it did not say.
            offset: where in the object they begin.
            size: bytes of the object, which tell with its etag whether its place depends on the offset.
            etag: its etag.
        """
        with self._lock:
            if served_by != self.host:
                self._count(FALLBACK, 1, nbytes)
            elif len(self._pending) < PENDING_MAX:
                self._pending.append(PendingRead(bucket, key, nbytes, offset, size, etag))
            else:
                self._count(UNPLACED, 1, nbytes)

    def settle(self) -> ReadCounts:
        """Decide what the noted reads were, and return all counts so far.

        May ask for the placement map: not for an event loop.
        """
        with self._settling:  # or whoever asks while another still asks for the map would miss what that one took
            with self._lock:
                pending, self._pending = self._pending, []
            kinds = self._kinds(pending)
            with self._lock:
                for read, kind in zip(pending, kinds, strict=True):
                    self._count(kind, 1, read.nbytes)
                return {"host": self.host, "reads": dict(self._reads), "bytes": dict(self._bytes)}

    def _kinds(self, pending: list[PendingRead]) -> list[str]:
        kinds = [UNPLACED] * len(pending)
        for bucket in {read.bucket for read in pending}:
            with contextlib.suppress(Exception):  # without a map there is nothing to say; the kind says so
                placement = self._placement(bucket)
                numbers: dict[bool, list[int]] = {False: [], True: []}  # of the reads, by whether they are in parts
                for i, read in enumerate(pending):
                    if read.bucket == bucket:
                        numbers[in_parts(read.size, read.etag, placement.chunk_bytes)].append(i)
                for split, of_kind in numbers.items():
                    self._place(kinds, pending, of_kind, self._holders_in_parts if split else self._holders, placement)
        return kinds

    def _place(
        self,
        kinds: list[str],
        pending: list[PendingRead],
        numbers: list[int],
        holders_of: Callable[[PlacementMap, list[PendingRead]], Sequence[Sequence[str]]],
        placement: PlacementMap,
    ) -> None:
        """Decide what the reads of these numbers were, all of one bucket."""
        with contextlib.suppress(Exception):
            found = holders_of(placement, [pending[i] for i in numbers])
            for i, holders in zip(numbers, found, strict=True):
                if self.host in holders:
                    kinds[i] = LOCAL if holders[0] == self.host else REPLICA
                elif holders:
                    kinds[i] = SPREAD if NO_HOST in holders else ELSEWHERE
            unknown = [i for i in numbers if kinds[i] == UNPLACED]
            if unknown and placement.pool_of(pending[unknown[0]].bucket).erasure:
                for i in unknown:
                    kinds[i] = ERASURE

    def _count(self, kind: str, reads: int, nbytes: int) -> None:
        self._reads[kind] += reads
        self._bytes[kind] += nbytes
        self._metrics.reads.labels(kind).inc(reads)
        self._metrics.bytes.labels(kind).inc(nbytes)

    @staticmethod
    def _holders(placement: PlacementMap, reads: list[PendingRead]) -> Sequence[Sequence[str]]:
        """Return the hosts that hold each object, the primary's first; empty where nobody knows any."""
        return placement.hosts(reads[0].bucket, [read.key for read in reads]) if reads else []

    def _holders_in_parts(self, _: PlacementMap, reads: list[PendingRead]) -> Sequence[Sequence[str]]:
        """Return the hosts that hold all of each range; ``NO_HOST`` where none does, empty where nobody knows any."""
        if not reads:
            return []
        wanted = [(read.key, read.offset, read.nbytes) for read in reads]
        shares = self._ranges().hosts_of_ranges(reads[0].bucket, wanted)
        # No host may hold all of a range; whoever holds a part of it still says that its place is known.
        return [
            [host for host, nbytes in held if nbytes >= read.nbytes] or [NO_HOST] * bool(held)
            for held, read in zip(shares, reads, strict=True)
        ]


class _Metrics(NamedTuple):
    reads: prometheus_client.Counter
    bytes: prometheus_client.Counter


@functools.cache
def _metrics() -> _Metrics:
    """Return Prometheus counters in the process's registry, which a Dask worker's /metrics shows."""
    from prometheus_client import Counter

    return _Metrics(
        Counter("appliance_s3_reads", "Objects read from S3, by where they came from", ["kind"]),
        Counter("appliance_s3_read_bytes", "Bytes read from S3, by where they came from", ["kind"]),
    )


@functools.cache
def counter() -> ReadCounter:
    """Return the counter of this process."""
    return ReadCounter(this_host(), lambda bucket: placement_access.maps().get(bucket), placement_access.ranges)


# A forked process counts what it reads itself, and none of its parent's threads is there to free a lock.
os.register_at_fork(after_in_child=counter.cache_clear)
