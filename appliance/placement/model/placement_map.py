"""The cluster's map: from bucket and keys to the hosts that hold the objects, without asking the cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from appliance.placement.errors import UnknownPlace
from appliance.placement.model.grid_hash import boxes, hash_box
from appliance.placement.model.rjenkins import hash_names, stable_mod

STANDARD = "STANDARD"  # the storage class of placement rules that name none
NOBODY = -1  # where a placement group misses a replica

Acting = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Pool:
    """A RADOS pool. ``acting`` has the shape (pg_num, size): OSD numbers, the primary's first, then ``NOBODY``.

    In an erasure-coded pool each OSD holds one ``data_shards``-th of an object, and the primary is the one that puts
    an object together from the others' shares. In a replicated pool ``data_shards`` is 1.
    """

    id: int
    name: str
    erasure: bool
    pg_num: int
    acting: Acting
    data_shards: int = 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pool):
            return NotImplemented
        mine = (self.id, self.name, self.erasure, self.pg_num, self.data_shards)
        theirs = (other.id, other.name, other.erasure, other.pg_num, other.data_shards)
        return mine == theirs and np.array_equal(self.acting, other.acting)

    def pgid(self, pg: int) -> str:
        """Return a placement group's name as Ceph writes it: the pool's number and the group's in hexadecimal."""
        return f"{self.id}.{pg:x}"


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket: the prefix of its objects' RADOS names, the pool that holds them, and why it is that pool.

    In a ``versioned`` bucket a key alone does not say where an object lies: its versions lie in places of their own.
    """

    marker: str
    pool: int
    placement: str
    versioned: bool = False

    @property
    def storage_class(self) -> str:
        """The storage class of objects for which none was asked (``placement`` is ``rule`` or ``rule/CLASS``)."""
        return self.placement.partition("/")[2] or STANDARD


@dataclass(frozen=True)
class PlacementMap:
    """One state of the cluster. Everything else is calculated from it.

    ``epoch`` is the OSD map's. ``chunk_bytes`` is the size up to which an S3 object is a single RADOS object; of a
    larger one this map places the head, the first ``chunk_bytes`` of it. ``osds`` names each OSD's host, ``hosts``
    each host's storage address. Buckets of tenants are called ``tenant/bucket``; S3's own ``tenant:bucket`` finds them
    too.
    """

    epoch: int
    cluster: str
    chunk_bytes: int
    osds: Mapping[int, str]
    addresses: Mapping[str, str]
    pools: Mapping[int, Pool]
    buckets: Mapping[str, Bucket]

    def address(self, host: str) -> str:
        """Return the host's storage address, or raise ``UnknownPlace``."""
        try:
            return self.addresses[host]
        except KeyError:
            raise UnknownPlace(
                f"the map of epoch {self.epoch} knows no storage host {host!r}; it has {sorted(self.addresses)}"
            ) from None

    def holds(self, bucket: str) -> bool:
        """Say whether the map knows a bucket."""
        return plain_name(bucket) in self.buckets

    def bucket(self, name: str) -> Bucket:
        """Return a bucket, or raise ``UnknownPlace``."""
        try:
            return self.buckets[plain_name(name)]
        except KeyError:
            raise UnknownPlace(f"the map of epoch {self.epoch} holds no bucket {name!r}") from None

    def pool_of(self, bucket: str) -> Pool:
        """Return the pool that holds a bucket's objects, or raise ``UnknownPlace``."""
        return self.pools[self.bucket(bucket).pool]

    def pgs(self, bucket: str, keys: Sequence[str]) -> npt.NDArray[np.uint32]:
        """Return the number of each key's placement group within the bucket's pool, in the keys' order.

        Raises ``UnknownPlace`` for a bucket that the map does not hold, and ``ValueError`` for a key that UTF-8 cannot
        write. The keys need not exist.
        """
        pool = self.pool_of(bucket)
        # RGW's locator, not the RADOS name, is what is hashed: see rados_names.locator.
        return stable_mod(hash_names(keys, f"{self.bucket(bucket).marker}_"), pool.pg_num)

    def hosts(self, bucket: str, keys: Sequence[str]) -> list[tuple[str, ...]]:
        """Return for each key the hosts that hold it, the primary's first.

        Empty tuples say that nothing is known: of a bucket that the map does not hold or that keeps versions, of an
        erasure-coded pool (no host has a whole object there), or of a placement group that no OSD serves now.
        """
        try:
            pool = self.pool_of(bucket)
        except UnknownPlace:
            return [()] * len(keys)
        if pool.erasure or self.bucket(bucket).versioned:
            return [()] * len(keys)
        found: list[tuple[str, ...]] = self._rows(pool).take(self.pgs(bucket, keys)).tolist()
        return found

    def pgs_of_grid(
        self, bucket: str, prefix: str, shape: Sequence[int], separator: str = "/"
    ) -> Iterator[npt.NDArray[np.uint32]]:
        """Yield the placement groups of an array's chunks in C order, up to some 65,000 at a time.

        The chunks' keys are ``prefix`` and the coordinates, such as ``era5/sst/c/`` and ``0/12/3``; ``shape`` counts
        the chunks along each axis. Memory does not grow with their number. Raises as ``pgs`` does, and ``ValueError``
        for a shape that is none.
        """
        pool = self.pool_of(bucket)
        locator_prefix = f"{self.bucket(bucket).marker}_{prefix}".encode()
        for box in boxes(shape):
            yield stable_mod(hash_box(locator_prefix, box, separator.encode()).ravel(), pool.pg_num)

    def hosts_of_grid(
        self, bucket: str, prefix: str, shape: Sequence[int], separator: str = "/"
    ) -> Iterator[list[tuple[str, ...]]]:
        """Yield the hosts of an array's chunks, as ``pgs_of_grid`` does their groups; empty tuples as for ``hosts``."""
        if not self.holds(bucket) or self.pool_of(bucket).erasure or self.bucket(bucket).versioned:
            for box in boxes(shape):
                nothing: list[tuple[str, ...]] = [()] * math.prod(len(axis) for axis in box)
                yield nothing
            return
        rows = self._rows(self.pool_of(bucket))
        for pgs in self.pgs_of_grid(bucket, prefix, shape, separator):
            yield rows.take(pgs).tolist()

    def hosts_of_names(self, pool: int, locators: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the hosts of RADOS objects in a pool, the primary's first, from the texts that place them.

        Empty tuples as for ``hosts``, and for a pool that the map does not hold.
        """
        if pool not in self.pools or self.pools[pool].erasure:
            return [()] * len(locators)
        known = self.pools[pool]
        found: list[tuple[str, ...]] = self._rows(known).take(stable_mod(hash_names(locators), known.pg_num)).tolist()
        return found

    def pg_hosts(self, pool: Pool) -> Sequence[tuple[str, ...]]:
        """Return each placement group's hosts, the primary's first; in an erasure-coded pool those of its shards."""
        return self._hosts_of_pgs[pool.id]

    def _rows(self, pool: Pool) -> npt.NDArray[np.object_]:
        return self._row_arrays[pool.id]

    @cached_property
    def _row_arrays(self) -> dict[int, npt.NDArray[np.object_]]:
        # Arrays of references: numpy fetches a million of them three times as fast as a list comprehension does.
        arrays = {}
        for number, rows in self._hosts_of_pgs.items():
            arrays[number] = np.empty(len(rows), dtype=np.object_)
            for pg, row in enumerate(rows):  # one by one: numpy takes equally long tuples for a matrix
                arrays[number][pg] = row
        return arrays

    @cached_property
    def _hosts_of_pgs(self) -> dict[int, list[tuple[str, ...]]]:
        return {pool.id: [self._row(row) for row in pool.acting.tolist()] for pool in self.pools.values()}

    def _row(self, acting: list[int]) -> tuple[str, ...]:
        # Two OSDs of a group on one host (a CRUSH rule may allow it) make one place to compute, hence dict.fromkeys.
        return tuple(dict.fromkeys(self.osds[osd] for osd in acting if osd != NOBODY))


def plain_name(bucket: str) -> str:
    """Return a bucket's name as the map has it, from that or from S3's form for tenants' buckets."""
    return bucket.replace(":", "/", 1).removeprefix("/")
