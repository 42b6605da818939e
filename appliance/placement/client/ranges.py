"""Where ranges of bytes lie, of objects of any size and kind."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from appliance.placement.client.listing import S3Object
from appliance.placement.client.map_client import MapClient
from appliance.placement.errors import MapError, PlacementUnavailable
from appliance.placement.http_api import MAX_OBJECTS
from appliance.placement.model.object_layout import Layout, Piece
from appliance.placement.model.placement_map import PlacementMap
from appliance.placement.model.rados_names import in_parts, locator, rados_name

K = TypeVar("K")
V = TypeVar("V")

LookUp = Callable[[str, Sequence[str]], Sequence[S3Object | None]]
"""From a bucket and keys to what S3 says of the objects now, None where it says nothing (see ``ObjectLookup``)."""

HostBytes = tuple[tuple[str, int], ...]
"""Hosts and how many bytes of a range each of them holds, the most first. Empty: nothing is known."""


def tells_by_name(cluster_map: PlacementMap, bucket: str, entry: S3Object) -> bool:
    """Say whether an object's name alone tells where all of it lies; raises ``UnknownPlace`` for an unknown bucket."""
    owner = cluster_map.bucket(bucket)
    is_named = bool(entry.version) or not owner.versioned
    fits = not in_parts(entry.bytes, entry.etag, cluster_map.chunk_bytes)
    # In another storage class's pool an object has all its bytes outside the head.
    return is_named and fits and entry.storage_class == owner.storage_class


def simple_layout(cluster_map: PlacementMap, bucket: str, entry: S3Object) -> Layout:
    """Return the layout of an object whose name tells where it lies: one piece."""
    owner = cluster_map.bucket(bucket)
    names = (owner.marker, entry.key, entry.version)
    head = Piece(0, entry.bytes, owner.pool, rados_name(*names), locator(*names))
    return Layout(entry.etag, entry.bytes, head, entry.bytes, entry.bytes, "", owner.marker, entry.version, owner.pool)


@dataclass
class Ranges:
    """Places ranges of objects by the newest map and the objects' layouts. Threads may share one.

    A layout is asked for once, in bulk with others, and remembered by the object's etag (with its time: the same
    content uploaded twice has one etag and two places). What S3 says of a key is believed for ``max_age`` seconds.
    When the service gives no layouts, it is left alone for ``retry_after`` seconds, and the ranges are unknown.
    """

    maps: MapClient
    look_up: LookUp
    max_age: float = 60.0
    retry_after: float = 5.0
    remembered: int = 200_000  # objects, some 500 bytes each
    clock: Callable[[], float] = time.monotonic
    _layouts: OrderedDict[tuple[str, S3Object], Layout] = field(default_factory=OrderedDict)
    _seen: OrderedDict[tuple[str, str], tuple[float, S3Object]] = field(default_factory=OrderedDict)
    _failed: float = -1e9
    _locks: dict[int, threading.Lock] = field(default_factory=dict)

    def hosts_of_ranges(self, bucket: str, ranges: Sequence[tuple[str, int, int]]) -> list[HostBytes]:
        """Return for each (key, offset, length) the hosts of exactly the stripes touched, with the bytes on each.

        A host counts with a byte if it holds any replica of it. Each object costs a question to the gateway once in
        ``max_age`` seconds, so this is for files and other large objects; of an array's chunks ``PlacementMap.hosts``
        knows by name alone. Empty where nothing is known: no such object or none
        that the keys may see, no layout to be had, an erasure-coded pool, groups that nobody serves. Raises
        ``PlacementUnavailable`` where there is no map at all, and ``ValueError`` for a negative offset or length.
        """
        cluster_map = self.maps.get(bucket)
        if not cluster_map.holds(bucket):
            return [()] * len(ranges)
        keys = list(dict.fromkeys(key for key, _, _ in ranges))
        objects = [entry for entry in self._looked_up(bucket, keys) if entry is not None]
        layouts = dict(zip([entry.key for entry in objects], self.layouts(cluster_map, bucket, objects), strict=True))
        pieces = [_cut(layouts.get(key), offset, length) for key, offset, length in ranges]
        return hosts_of_pieces(cluster_map, pieces)

    def layouts(self, cluster_map: PlacementMap, bucket: str, objects: Sequence[S3Object]) -> list[Layout | None]:
        """Return the layout of each object, None where there is none to be had.

        Raises ``UnknownPlace`` for a bucket that the map does not hold.
        """
        owner = cluster_map.bucket(bucket)
        marker, versioned = owner.marker, owner.versioned
        found: dict[S3Object, Layout | None] = {}
        missing = []
        for entry in objects:
            if tells_by_name(cluster_map, bucket, entry):
                found[entry] = simple_layout(cluster_map, bucket, entry)
            elif (known := self._layouts.get((marker, entry))) is not None:
                found[entry] = known
            elif entry.etag and (entry.version or not versioned):
                missing.append(entry)
        for start in range(0, len(missing), MAX_OBJECTS):
            page = missing[start : start + MAX_OBJECTS]
            for entry, layout in zip(page, self._asked(bucket, page), strict=True):
                # Compressed objects are shorter in RADOS than in S3: whose byte is where is not known then.
                if layout is not None and layout.bytes == entry.bytes:
                    found[entry] = layout
                    self._remember(self._layouts, (marker, entry), layout)
        return [found.get(entry) for entry in objects]

    def _asked(self, bucket: str, page: Sequence[S3Object]) -> Sequence[Layout | None]:
        if self.clock() - self._failed < self.retry_after:
            return [None] * len(page)
        try:
            return self.maps.layouts(bucket, [(entry.key, entry.version, entry.etag) for entry in page])
        except PlacementUnavailable:
            self._failed = self.clock()
            return [None] * len(page)

    def _looked_up(self, bucket: str, keys: Sequence[str]) -> list[S3Object | None]:
        now = self.clock()
        known = {key: self._seen.get((bucket, key)) for key in keys}
        found = {key: seen[1] for key, seen in known.items() if seen is not None and now - seen[0] < self.max_age}
        missing = [key for key in keys if key not in found]
        if missing:
            for key, entry in zip(missing, self.look_up(bucket, missing), strict=True):
                if entry is not None:
                    found[key] = entry
                    self._remember(self._seen, (bucket, key), (now, entry))
        return [found.get(key) for key in keys]

    def _remember(self, memory: OrderedDict[K, V], key: K, value: V) -> None:
        with self._locks.setdefault(os.getpid(), threading.Lock()):  # a forked process has one of its own
            memory[key] = value
            while len(memory) > self.remembered:
                memory.popitem(last=False)


def hosts_of_pieces(cluster_map: PlacementMap, ranges: Sequence[Sequence[Piece]]) -> list[HostBytes]:
    """Return for each range, given as its pieces, the hosts and their bytes, the most first."""
    hosts = _placed(cluster_map, [piece for pieces in ranges for piece in pieces])
    found: list[HostBytes] = []
    for pieces in ranges:
        bytes_of: dict[str, int] = {}
        for piece in pieces:
            for host in hosts[piece.pool, piece.locator]:
                bytes_of[host] = bytes_of.get(host, 0) + piece.bytes
        # The sort is stable: among equals the primary of the first piece comes first.
        found.append(tuple(sorted(bytes_of.items(), key=lambda entry: -entry[1])))
    return found


def _placed(cluster_map: PlacementMap, pieces: Iterable[Piece]) -> dict[tuple[int, str], tuple[str, ...]]:
    of_pool: dict[int, dict[str, None]] = {}
    for piece in pieces:
        of_pool.setdefault(piece.pool, {})[piece.locator] = None
    return {
        (pool, name): hosts
        for pool, names in of_pool.items()
        for name, hosts in zip(names, cluster_map.hosts_of_names(pool, list(names)), strict=True)
    }


def _cut(layout: Layout | None, offset: int, length: int) -> Sequence[Piece]:
    if offset < 0 or length < 0:
        raise ValueError(f"a range begins at 0 or later and has no negative length: offset {offset}, length {length}")
    try:
        return () if layout is None else layout.pieces(offset, length)
    except MapError:
        return ()
