"""Where a dataset lies: its objects placed, and summed up for each host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from appliance.placement.client.listing import S3Object
from appliance.placement.errors import MapError
from appliance.placement.model.object_layout import Layout, Piece
from appliance.placement.model.placement_map import PlacementMap, Pool
from appliance.placement.model.rados_names import locator, rados_name
from appliance.placement.model.rjenkins import hash_names, stable_mod

Counts = npt.NDArray[np.int64]

LayoutsOf = Callable[[PlacementMap, str, Sequence[S3Object]], Sequence[Layout | None]]
"""From a map, a bucket and its objects to their layouts (see ``ranges.Ranges.layouts``)."""


@dataclass(frozen=True)
class HostShare:
    """What one host holds of a dataset: as primary, and in any role. An object is counted where it begins."""

    host: str
    primary_objects: int
    primary_bytes: int
    objects: int
    bytes: int


@dataclass(frozen=True)
class Placed:
    """An object and its pieces, each with its placement group's number in the piece's pool.

    None where no layout could be had: what is known is the place of its head.
    """

    listed: S3Object
    pieces: Sequence[tuple[Piece, int]] | None


@dataclass
class Tally:
    """Sums of a dataset, kept for each placement group: they do not grow with the number of objects."""

    map: PlacementMap
    bucket: str
    layouts_of: LayoutsOf
    objects: int = 0
    bytes: int = 0
    unknown: int = 0  # objects without a layout
    unknown_bytes: int = 0
    _objects: dict[int, Counts] = field(default_factory=dict)
    _bytes: dict[int, Counts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pool in self.map.pools.values():
            self._objects[pool.id], self._bytes[pool.id] = (np.zeros(pool.pg_num, np.int64) for _ in range(2))

    def add(self, page: Sequence[S3Object]) -> list[Placed]:
        """Place a page of objects, add them up, and return their pieces."""
        pieces = [self._pieces(layout) for layout in self.layouts_of(self.map, self.bucket, page)]
        pgs = self._pgs([piece for some in pieces if some is not None for piece in some])
        placed = []
        for entry, some in zip(page, pieces, strict=True):
            self.objects += 1
            self.bytes += entry.bytes
            if some is None:
                self.unknown += 1
                self.unknown_bytes += entry.bytes
                placed.append(Placed(entry, None))
                continue
            known = [(piece, next(pgs)) for piece in some]
            self._objects[known[0][0].pool][known[0][1]] += 1
            for piece, pg in known:
                self._bytes[piece.pool][pg] += piece.bytes
            placed.append(Placed(entry, known))
        return placed

    def _pieces(self, layout: Layout | None) -> Sequence[Piece] | None:
        """Return a layout's pieces; None where some are in pools that the map does not have."""
        try:
            # An object without bytes has no pieces; it is counted where its head is.
            found = None if layout is None else layout.pieces() or [layout.head]
        except MapError:
            return None
        return found if found and all(piece.pool in self.map.pools for piece in found) else None

    def _pgs(self, pieces: Sequence[Piece]) -> Iterator[int]:
        """Yield each piece's placement group."""
        found = np.zeros(len(pieces), np.uint32)
        pools = np.fromiter((piece.pool for piece in pieces), np.int64, len(pieces))
        for number in set(pools.tolist()):
            at = np.flatnonzero(pools == number)
            hashes = hash_names([pieces[place].locator for place in at.tolist()])
            found[at] = stable_mod(hashes, self.map.pools[number].pg_num)
        return iter(found.tolist())

    def pools(self) -> list[Pool]:
        """Return the pools that hold something of the dataset, and the bucket's own."""
        own = self.map.pool_of(self.bucket)
        others = [pool for pool in self.map.pools.values() if self._bytes[pool.id].any() and pool.id != own.id]
        return [own, *others]

    def shares(self) -> list[HostShare]:
        """Return what each of the facility's storage hosts holds, by name; hosts that hold nothing too."""
        sums = {host: np.zeros(4, np.int64) for host in self.map.addresses}
        for pool in self.map.pools.values():
            counts = np.stack([self._objects[pool.id], self._bytes[pool.id]], axis=1)
            for pg in np.flatnonzero(counts.any(axis=1)).tolist():
                for place, host in enumerate(self.map.pg_hosts(pool)[pg]):
                    sums[host][2:] += counts[pg]
                    if place == 0:
                        sums[host][:2] += counts[pg]
        return [HostShare(host, *row.tolist()) for host, row in sorted(sums.items())]

    def unserved(self) -> int:
        """Return the number of objects whose placement group no host serves now."""
        count = 0
        for pool in self.map.pools.values():
            lost = [not row for row in self.map.pg_hosts(pool)]
            count += int(self._objects[pool.id][lost].sum())
        return count


def records(cluster_map: PlacementMap, bucket: str, page: Sequence[Placed]) -> Iterator[dict[str, object]]:
    """Yield one object for JSON for each placed one.

    ``rados_name``, ``pgid`` and ``hosts`` are those of the object itself or, where it is more than one RADOS object, of
    its head. ``hosts`` begins with the primary's and is empty in an erasure-coded pool. ``locator`` is what `ceph osd
    map` has to be asked with where that is not the RADOS name. ``whole`` tells whether all of the object lies on these
    hosts; where it does not, ``pieces`` tells where its bytes lie, if that is known.
    """
    pool, marker = cluster_map.pool_of(bucket), cluster_map.bucket(bucket).marker
    names = [(marker, placed.listed.key, placed.listed.version) for placed in page]
    pgs = stable_mod(hash_names([locator(*name) for name in names]), pool.pg_num).tolist()
    for placed, name, pg in zip(page, names, pgs, strict=True):
        entry = placed.listed
        head = _place(cluster_map, pool, pg, rados_name(*name), locator(*name))
        in_one = placed.pieces is not None and [piece.name for piece, _ in placed.pieces] == [head["rados_name"]]
        record: dict[str, object] = {"key": entry.key, **head, "bytes": entry.bytes}
        record["whole"] = in_one and not pool.erasure
        if placed.pieces is not None and not in_one:
            record["pieces"] = [
                {
                    "offset": piece.offset,
                    "bytes": piece.bytes,
                    **_place(cluster_map, cluster_map.pools[piece.pool], group, piece.name, piece.locator),
                }
                for piece, group in placed.pieces
            ]
        yield record


def _place(cluster_map: PlacementMap, pool: Pool, pg: int, name: str, place: str) -> dict[str, object]:
    hosts = [] if pool.erasure else list(cluster_map.pg_hosts(pool)[pg])
    found: dict[str, object] = {"rados_name": name, "pgid": pool.pgid(pg), "hosts": hosts, "pool": pool.name}
    return found if name == place else {**found, "locator": place}


def notes(tally: Tally) -> list[str]:
    """Return what has to be said about a dataset beside its sums, a sentence each."""
    said = []
    for pool in tally.pools():
        if pool.erasure:
            said.append(
                f"Pool {pool.name} is erasure-coded: no host holds a whole object, the primary holds one "
                f"{ordinal(pool.data_shards)} of it, so the figures are of objects that a host has a share of, and "
                "reads cross the network wherever the work is done."
            )
    if tally.unknown:
        said.append(
            f"{tally.unknown} objects with {tally.unknown_bytes} bytes are not counted: they are of several RADOS "
            "objects, and the placement service does not say of which (see layouts_failure at its /healthz)."
        )
    if tally.unserved():
        said.append(f"{tally.unserved()} objects are in placement groups that no host serves now.")
    return said


def ordinal(number: int) -> str:
    """Return a fraction's denominator in words as far as erasure codes go."""
    return {1: "whole", 2: "half", 3: "third", 4: "quarter"}.get(number, f"{number}th")
