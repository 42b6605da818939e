"""The newest map of the cluster, read again and again, ready to be sent: the placement service without its HTTP."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from appliance.placement.errors import ClusterError, PlacementUnavailable
from appliance.placement.model.map_json import encode_map
from appliance.placement.model.placement_map import Bucket, PlacementMap, plain_name
from appliance.placement.service.ceph_monitors import Monitors
from appliance.placement.service.osd_table import OsdTable, read_epoch, read_osd_table
from appliance.placement.service.rgw_admin import BucketRecord, RgwAdmin

MAX_ABSENT = 1000  # names looked for in vain that are remembered: whoever asks for more is guessing


@dataclass(frozen=True)
class EncodedMap:
    """A map as it is sent. The ETag is the epoch and a digest, since buckets come and go within an epoch."""

    map: PlacementMap
    body: bytes
    gzipped: bytes
    etag: str

    @classmethod
    def of(cls, cluster_map: PlacementMap) -> EncodedMap:
        """Encode a map; equal maps give equal bytes and so equal ETags."""
        body = json.dumps(encode_map(cluster_map), separators=(",", ":"), sort_keys=True).encode()
        digest = hashlib.sha256(body).hexdigest()[:16]
        return cls(cluster_map, body, gzip.compress(body, 6, mtime=0), f'"{cluster_map.epoch}-{digest}"')


@dataclass(frozen=True)
class Intervals:
    """How often the cluster is asked what, in seconds."""

    settle: float = 20.0  # after a new epoch the manager hears of the groups' new places with a delay
    buckets: float = 30.0  # a bucket deleted and made again has another marker
    absent: float = 3.0  # a name that is no bucket's is not looked for again so soon
    confirm: int = 100  # known buckets that are read again at a time, the longest known first


@dataclass
class MapRefresher:
    """Reads the cluster and holds the map. ``refresh`` and ``look_up`` may be called from several threads."""

    monitors: Monitors
    rgw: RgwAdmin
    chunk_bytes: int
    intervals: Intervals = field(default_factory=Intervals)
    clock: Callable[[], float] = time.monotonic
    encoded: EncodedMap | None = None
    confirmed: float | None = None  # when the cluster last answered
    failure: str | None = None  # why it did not, since then
    failures: int = 0
    seconds: float = 0.0  # of the last refresh
    _table: OsdTable | None = None
    _table_changed: float = 0.0
    _found: Mapping[str, BucketRecord] = field(default_factory=dict)
    _encoded_from: tuple[OsdTable, Mapping[str, BucketRecord]] | None = None
    _gateway_failure: str | None = None
    _look_again: float = -1e9  # when all buckets are due
    _absent: dict[str, float] = field(default_factory=dict)  # names that were no bucket's, and when
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> None:
        """Ask the cluster for what may have changed, and encode a new map if something did; never raises."""
        with self._lock:
            start = self.clock()
            if start >= self._look_again:
                # A gateway that does not answer keeps nobody from knowing where known buckets' objects have moved.
                self._gateway_failure = self._guarded(self._read_buckets)
                self._look_again = start + (self.intervals.absent if self._gateway_failure else self.intervals.buckets)
            table_failure = self._guarded(self._read_table)
            if table_failure is None:
                self.confirmed = self.clock()
            self.failure = table_failure or self._gateway_failure
            self.seconds = self.clock() - start

    def look_up(self, bucket: str) -> None:
        """Look for a bucket that the map does not hold, unless that name was looked for just now."""
        bucket = plain_name(bucket)
        with self._lock:
            now = self.clock()
            self._absent = {name: at for name, at in self._absent.items() if now - at < self.intervals.absent}
            if self._table is None or self.holds(bucket) or bucket in self._absent or len(self._absent) > MAX_ABSENT:
                return
            failure = self._guarded(lambda: self._read_bucket(bucket))
            if failure or not self.holds(bucket):
                self._absent[bucket] = now

    def holds(self, bucket: str) -> bool:
        """Say whether the map that would be sent now holds a bucket."""
        return self.encoded is not None and self.encoded.map.holds(bucket)

    def current(self) -> EncodedMap:
        """Return the map to send, or raise ``PlacementUnavailable`` as long as none could be made."""
        if self.encoded is None:
            raise PlacementUnavailable(f"no map yet: {self.failure or 'the cluster is being asked for the first time'}")
        return self.encoded

    def age(self) -> float | None:
        """Return the seconds since the cluster last confirmed the map; None before the first time."""
        return None if self.confirmed is None else self.clock() - self.confirmed

    def close(self) -> None:
        """End the connections to the cluster and its gateway."""
        self.monitors.close()
        self.rgw.close()

    def _guarded(self, step: Callable[[], None]) -> str | None:
        try:
            step()
        except ClusterError as error:
            failure = str(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # An answer of another shape, as another release of Ceph might give: the last map stays.
            failure = f"an answer of the cluster is not understood: {type(error).__name__}: {error}"
        else:
            return None
        self.failures += 1
        return failure

    def _read_buckets(self) -> None:
        names = set(self.rgw.bucket_names())
        known = {name: bucket for name, bucket in self._found.items() if name in names}
        fresh = sorted(names - known.keys())
        for name in [*fresh, *list(known)[: self.intervals.confirm]]:
            known.pop(name, None)
            found = self.rgw.bucket(name)
            if found is not None:
                known[name] = found  # at the end: the next time it is the last to be read again
        self._found = known

    def _read_bucket(self, name: str) -> None:
        found = self.rgw.bucket(name)
        if found is not None and self._table is not None:
            self._found = {**self._found, name: found}
            self._encode(self._table)

    def _read_table(self) -> None:
        wanted = {*self.rgw.data_pools.values(), *(bucket.pool_name for bucket in self._found.values())}
        known = self._table
        settled = self.clock() - self._table_changed >= self.intervals.settle
        if known is None or not settled or known.asked != wanted or read_epoch(self.monitors) != known.epoch:
            table = read_osd_table(self.monitors, wanted)
            if known is None or table.epoch != known.epoch:
                self._table_changed = self.clock()
            known = self._table = table
        self._encode(known)

    def _encode(self, table: OsdTable) -> None:
        if self._encoded_from is not None and self._encoded_from == (table, self._found):
            return  # encoding a large map takes a while, and mostly nothing has changed
        buckets = {}
        for name, found in self._found.items():
            pool = table.pool_named(found.pool_name)
            if pool is not None:
                buckets[name] = Bucket(found.marker, pool, found.placement, found.versioned)
        cluster_map = PlacementMap(
            epoch=table.epoch,
            cluster=table.cluster,
            chunk_bytes=self.chunk_bytes,
            osds=table.osds,
            addresses=table.addresses,
            pools=table.pools,
            buckets=buckets,
        )
        self.encoded = EncodedMap.of(cluster_map)
        self._encoded_from = (table, self._found)
