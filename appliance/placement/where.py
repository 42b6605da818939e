"""Where a dataset lies: its objects placed, and summed up for each host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from appliance.placement.listing import Listed
from appliance.placement.map import PlacementMap
from appliance.placement.names import locator, rados_name


@dataclass(frozen=True)
class HostShare:
    """What one host holds of a dataset: as primary, and in any role."""

    host: str
    primary_objects: int
    primary_bytes: int
    objects: int
    bytes: int


@dataclass
class Tally:
    """Sums of a dataset, kept for each placement group: they do not grow with the number of objects."""

    map: PlacementMap
    bucket: str
    objects: int = 0
    bytes: int = 0
    larger: int = 0  # objects larger than a chunk: only their heads are placed
    in_parts: int = 0  # objects uploaded in parts: their heads hold no data
    bytes_elsewhere: int = 0  # of those two kinds, what does not lie where the head lies
    _objects_of_pg: npt.NDArray[np.int64] = field(init=False)
    _bytes_of_pg: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        pg_num = self.map.pool_of(self.bucket).pg_num
        self._objects_of_pg, self._bytes_of_pg = np.zeros(pg_num, np.int64), np.zeros(pg_num, np.int64)

    def add(self, page: Sequence[Listed]) -> npt.NDArray[np.uint32]:
        """Place a page of objects, add them up, and return their placement groups."""
        pgs = self.map.pgs(self.bucket, [entry.key for entry in page])
        sizes = np.fromiter((entry.bytes for entry in page), np.int64, len(page))
        in_parts = np.fromiter((entry.in_parts for entry in page), np.bool_, len(page))
        head = np.where(in_parts, 0, np.minimum(sizes, self.map.chunk_bytes))
        # add.at, not bincount with weights: those are floats, and bytes are exact.
        np.add.at(self._objects_of_pg, pgs, 1)
        np.add.at(self._bytes_of_pg, pgs, head)
        self.objects += len(page)
        self.bytes += int(sizes.sum())
        self.bytes_elsewhere += int((sizes - head).sum())
        self.in_parts += int(in_parts.sum())
        self.larger += int(((sizes > self.map.chunk_bytes) & ~in_parts).sum())
        return pgs

    def shares(self) -> list[HostShare]:
        """Return what each of the facility's storage hosts holds, by name; hosts that hold nothing too."""
        rows = self.map.pg_hosts(self.map.pool_of(self.bucket))
        shares = []
        for host in sorted(self.map.addresses):
            first = np.fromiter((bool(row) and row[0] == host for row in rows), np.bool_, len(rows))
            holds = np.fromiter((host in row for row in rows), np.bool_, len(rows))
            sums = [int(of[which].sum()) for which in (first, holds) for of in (self._objects_of_pg, self._bytes_of_pg)]
            shares.append(HostShare(host, *sums))
        return shares

    def unserved(self) -> int:
        """Return the number of objects whose placement group no host serves now."""
        rows = self.map.pg_hosts(self.map.pool_of(self.bucket))
        return int(self._objects_of_pg[[not row for row in rows]].sum())


def records(cluster_map: PlacementMap, bucket: str, page: Sequence[Listed]) -> Iterator[dict[str, object]]:
    """Yield one object for JSON for each listed one.

    ``hosts`` begins with the primary's and is empty in an erasure-coded pool. ``locator`` is what `ceph osd map` has to
    be asked with where that is not the RADOS name. ``whole`` tells whether all of the object lies on these hosts.
    """
    pool, marker = cluster_map.pool_of(bucket), cluster_map.buckets[bucket].marker
    pgs = cluster_map.pgs(bucket, [entry.key for entry in page]).tolist()
    hosts = cluster_map.pg_hosts(pool)
    for entry, pg in zip(page, pgs, strict=True):
        record: dict[str, object] = {
            "key": entry.key,
            "rados_name": rados_name(marker, entry.key),
            "pgid": pool.pgid(pg),
            "hosts": [] if pool.erasure else list(hosts[pg]),
            "bytes": entry.bytes,
            "pool": pool.name,
            "whole": not (pool.erasure or entry.in_parts or entry.bytes > cluster_map.chunk_bytes),
        }
        if record["rados_name"] != locator(marker, entry.key):
            record["locator"] = locator(marker, entry.key)
        yield record


def notes(tally: Tally) -> list[str]:
    """Return what has to be said about a dataset beside its sums, a sentence each."""
    cluster_map = tally.map
    pool = cluster_map.pool_of(tally.bucket)
    mib = cluster_map.chunk_bytes / 2**20
    said = []
    if pool.erasure:
        said.append(
            f"Pool {pool.name} is erasure-coded: no host holds a whole object, so the figures are of objects that a "
            "host has a share of, and reads cross the network wherever the work is done."
        )
    if tally.larger:
        said.append(
            f"{tally.larger} objects are larger than the chunk size of {mib:g} MiB: only the first {mib:g} MiB of each "
            "are counted here, the rest lies in further RADOS objects on other hosts."
        )
    if tally.in_parts:
        said.append(
            f"{tally.in_parts} objects were uploaded in parts, which lie on hosts of their own: not counted here."
        )
    if tally.unserved():
        said.append(f"{tally.unserved()} objects are in placement groups that no host serves now.")
    return said
