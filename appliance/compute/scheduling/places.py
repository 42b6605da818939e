"""Where a task's data is: from the objects that it reads to the hosts that hold most of their bytes."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.placement.errors import PlacementError
from appliance.placement.model.rados_names import in_parts

if TYPE_CHECKING:
    from dask.typing import Key

    from appliance.compute.scheduling.atlas import Atlas
    from appliance.compute.scheduling.zarr_source import ObjectRange, ZarrSource
    from appliance.placement import PlacementMap

# What one task reads: arrays, and which ranges of which objects in their buckets.
Objects = list[tuple["ZarrSource", "ObjectRange"]]
Held = list[tuple[tuple[str, ...], int]]  # addresses of hosts, and the bytes that each of them holds
HeldBy = Mapping[tuple[str, "ObjectRange"], Held]  # by bucket and range


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where tasks of the same data should run; one object for all of them.

    Attributes:
        hosts: addresses of the hosts that hold the most of what such a task reads.
        nbytes: uncompressed bytes that it reads.
        mixed: whether other hosts hold a part of it; they count where none of ``hosts`` has a worker.
        restriction: ``hosts`` as distributed wants restrictions.
        reads: number of objects, or ranges of objects, that it reads.
        remote_reads: of these, the number that the first of ``hosts`` does not hold completely; the other hosts hold
            as many bytes.
    """

    hosts: tuple[str, ...]
    nbytes: int
    mixed: bool
    restriction: set[str] = field(repr=False)
    reads: int = 1
    remote_reads: int = 0


def weigh(held: Iterable[tuple[tuple[str, ...], int]], present: Collection[str]) -> tuple[tuple[str, ...], bool]:
    """Choose the hosts that hold most of what one task reads.

    Args:
        held: for each object its hosts and its bytes.
        present: hosts that have workers now; others count only where none of these holds anything.

    Returns:
        these hosts, and whether others hold a part of it.
    """
    bytes_of: defaultdict[str, int] = defaultdict(int)
    for hosts, nbytes in held:
        for host in hosts:
            bytes_of[host] += nbytes
    candidates = {host: nbytes for host, nbytes in bytes_of.items() if host in present} or bytes_of
    most = max(candidates.values(), default=0)
    chosen = tuple(sorted(host for host, nbytes in candidates.items() if nbytes == most))
    return chosen, len(chosen) < len(bytes_of)


class PlaceFinder:
    """Finds the places of tasks.

    Args:
        atlas: where the placement maps come from.

    Attributes:
        buckets: all buckets that tasks have read from so far.
    """

    def __init__(self, atlas: Atlas):
        self.buckets: set[str] = set()
        self._atlas = atlas
        self._shared: dict[tuple[tuple[str, ...], int, bool, int, int], Place] = {}

    def find(self, reads: Mapping[Key, Objects], present: Collection[str]) -> dict[Key, Place]:
        """Return the place of each task of which the maps know one.

        Args:
            reads: what each task reads.
            present: addresses of hosts that have workers now.

        Raises:
            PlacementError, TimeoutError: there is no map, see ``Atlas.get``.
        """
        holders = self._holders(reads.values())
        found: dict[Key, Place] = {}
        for key, objects in reads.items():
            place = self._place(objects, holders, present)
            if place is not None:
                found[key] = place
        return found

    def _place(self, objects: Objects, holders: HeldBy, present: Collection[str]) -> Place | None:
        held: Held = []
        if len(objects) == 1:
            ((source, part),) = objects
            held = holders[source.bucket, part]
            nbytes = part[2]
            if len(held) == 1:
                hosts, mixed = held[0][0], False
            else:
                hosts, mixed = weigh(held, present)
        else:
            nbytes = sum(part[2] for _, part in objects)
            hosts, mixed = weigh((each for source, part in objects for each in holders[source.bucket, part]), present)
        if not hosts:
            return None
        remote = 0
        if mixed or len(objects) > 1 or len(held) > 1:
            remote = sum(not _holds(hosts[0], holders[source.bucket, part], part[2]) for source, part in objects)
        shared = self._shared.get((hosts, nbytes, mixed, len(objects), remote))
        if shared is None:
            shared = Place(hosts, nbytes, mixed, set(hosts), len(objects), remote)
            self._shared[hosts, nbytes, mixed, len(objects), remote] = shared
        return shared

    def _holders(self, reads: Iterable[Objects]) -> HeldBy:
        """Return the hosts of everything that is read. Asks one or two questions for each bucket."""
        wanted: defaultdict[str, dict[ObjectRange, ZarrSource]] = defaultdict(dict)
        for objects in reads:
            for source, part in objects:
                wanted[source.bucket][part] = source
        self.buckets.update(wanted)
        by_name: list[tuple[str, PlacementMap, list[ObjectRange]]] = []
        by_range: list[tuple[str, PlacementMap, list[ObjectRange]]] = []
        for bucket, sources in wanted.items():
            placement = self._atlas.get(bucket)
            named: list[ObjectRange] = []
            others: list[ObjectRange] = []
            for part, source in sources.items():
                is_named = source.is_one_chunk(part[0]) and not in_parts(part[2], "", placement.chunk_bytes)
                (named if is_named else others).append(part)
            by_name.append((bucket, placement, named))
            by_range.append((bucket, placement, others))
        holders: dict[tuple[str, ObjectRange], Held] = {}
        # Ranges last: their answer may take too long, and nothing else has to wait for it.
        for held_by, questions in ((self._held_by_name, by_name), (self._held_by_range, by_range)):
            for bucket, placement, parts in questions:
                if parts:
                    for part, held in held_by(placement, bucket, parts):
                        holders[bucket, part] = held
        return holders

    def _held_by_name(
        self, placement: PlacementMap, bucket: str, parts: list[ObjectRange]
    ) -> Iterator[tuple[ObjectRange, Held]]:
        """Place objects of which each is one RADOS object: its name tells where it lies."""
        known: dict[tuple[tuple[str, ...], int], Held] = {}
        for part, hosts in zip(parts, placement.hosts(bucket, [key for key, _, _ in parts]), strict=True):
            held = known.get((hosts, part[2]))
            if held is None:
                held = known[hosts, part[2]] = [(tuple(_addresses(placement, hosts)), part[2])]
            yield part, held

    def _held_by_range(
        self, placement: PlacementMap, bucket: str, parts: list[ObjectRange]
    ) -> Iterator[tuple[ObjectRange, Held]]:
        """Place ranges of larger objects, which lie in several RADOS objects."""
        try:
            found = self._atlas.holders(bucket, parts)
        except TimeoutError:  # nothing is known in time, which is no reason to leave all other tasks without a place
            found = [()] * len(parts)
        for part, shares in zip(parts, found, strict=True):
            yield part, [(tuple(_addresses(placement, (host,))), size) for host, size in shares]


def _holds(host: str, held: Held, nbytes: int) -> bool:
    """Return whether a host holds all of an object, or of a range of one."""
    return any(host in hosts and there >= nbytes for hosts, there in held)


def _addresses(placement: PlacementMap, hosts: Iterable[str]) -> Iterator[str]:
    for host in hosts:
        with contextlib.suppress(PlacementError):  # a host that the map gives no address for: others may do
            yield placement.address(host)
