"""Where a task's data is: from the objects that it reads to the hosts that hold most of their bytes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from appliance.placement.errors import PlacementError

if TYPE_CHECKING:
    from appliance.compute.graph import Source

MAP_TIMEOUT = 1.0  # s; a scheduler waits for nothing longer than this
MAP_RETRY = 10.0  # s to leave a map service alone that did not answer within it

# What one task reads: arrays, and of which objects in their buckets (key, offset, length in bytes).
Objects = list[tuple["Source", tuple[str, int, int]]]
Held = list[tuple[tuple[str, ...], int]]  # addresses, and the bytes that each of them holds
# One stored object is one RADOS object up to this size (rgw_max_chunk_size and rgw_obj_stripe_size of role ceph_rgw),
# and so is each part of a multipart upload.
OBJECT_BYTES = 64 * 2**20


class Placement(Protocol):
    """What is asked of ``appliance.placement.PlacementMap``."""

    @property
    def epoch(self) -> int: ...

    def hosts(self, bucket: str, keys: list[str]) -> list[tuple[str, ...]]: ...

    def address(self, host: str) -> str: ...


class Maps(Protocol):
    """What is asked of ``appliance.placement.MapClient``."""

    def get(self, bucket: str | None = None) -> Placement: ...


class Ranges(Protocol):
    """What is asked of ``appliance.placement.Ranges``."""

    def hosts_of_ranges(
        self, bucket: str, ranges: Sequence[tuple[str, int, int]]
    ) -> Sequence[Sequence[tuple[str, int]]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where tasks of the same data are; one object for all of them.

    Attributes:
        hosts: addresses of the hosts that hold the most of what such a task reads.
        nbytes: uncompressed bytes that it reads.
        mixed: other hosts hold a part of it, and count where none of these has a worker.
        restriction: ``hosts`` as distributed wants restrictions.
        reads: objects, or ranges of objects, that it reads.
        away: of these, the ones that the first of ``hosts`` does not hold whole; the others hold as many bytes.
    """

    hosts: tuple[str, ...]
    nbytes: int
    mixed: bool
    restriction: set[str] = field(repr=False)
    reads: int = 1
    away: int = 0


def weigh(held: Iterable[tuple[tuple[str, ...], int]], present: Collection[str]) -> tuple[tuple[str, ...], bool]:
    """Which hosts hold most of what one task reads.

    Args:
        held: for each object its hosts and its bytes.
        present: hosts that have workers now; others count only where none of these holds anything.

    Returns:
        these hosts, and whether others hold a part of it.
    """
    there: defaultdict[str, int] = defaultdict(int)
    for hosts, nbytes in held:
        for host in hosts:
            there[host] += nbytes
    nearby = {host: local for host, local in there.items() if host in present} or there
    most = max(nearby.values(), default=0)
    chosen = tuple(sorted(host for host, local in nearby.items() if local == most))
    return chosen, len(chosen) < len(there)


class Atlas:
    """The maps of the buckets that a scheduler's tasks read, never waited for longer than ``timeout`` seconds.

    ``ranges`` places parts of files and other large objects; without it nothing is known of these.
    """

    def __init__(
        self,
        maps: Maps,
        ranges: Ranges | None = None,
        timeout: float = MAP_TIMEOUT,
        retry: float = MAP_RETRY,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._maps, self._ranges = maps, ranges
        self._timeout, self._retry, self._clock = timeout, retry, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="placement-map")
        self._asked: dict[str, Future[Placement]] = {}
        self._used: dict[str, Placement] = {}
        self._silent_until = float("-inf")

    def get(self, bucket: str) -> Placement:
        """The map for a bucket.

        Raises ``TimeoutError`` if none came in time, and whatever the client raises.
        """
        held = self._used.get(bucket)
        if self._clock() < self._silent_until:
            if held is None:
                raise TimeoutError("the placement service did not answer just now")
            return held  # an old map costs a few remote reads, none at all makes all of them random
        try:
            self._used[bucket] = self._ask(bucket).result(self._timeout)
        except TimeoutError:
            self._silent_until = self._clock() + self._retry
            if held is None:
                raise TimeoutError(f"the placement service gave no map within {self._timeout} s") from None
        except Exception:
            self._used.pop(bucket, None)  # the client has tried its old map already
            raise
        return self._used[bucket]

    def holders(self, bucket: str, ranges: Sequence[tuple[str, int, int]]) -> Sequence[Sequence[tuple[str, int]]]:
        """For each (key, offset, length) the hosts, with the bytes that each holds; empty where nothing is known.

        Raises ``TimeoutError`` where the answer takes too long, as the first one for thousands of files may: it comes
        in all the same, and the next question finds it there.
        """
        if self._ranges is None:
            return [()] * len(ranges)
        return self._thread.submit(self._ranges.hosts_of_ranges, bucket, ranges).result(self._timeout)

    async def changed(self, buckets: Collection[str]) -> bool:
        """Ask for the maps anew, beside the event loop: whether one of them differs from the one used last."""
        differs = False
        for bucket in buckets:
            fresh = await asyncio.wait_for(asyncio.wrap_future(self._ask(bucket)), self._retry)
            used = self._used.get(bucket)
            differs = differs or used is None or _state(used, bucket) != _state(fresh, bucket)
            self._used[bucket] = fresh
            self._silent_until = float("-inf")
        return differs

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, bucket: str) -> Future[Placement]:
        asked = self._asked.get(bucket)
        if asked is None or asked.done():
            asked = self._asked[bucket] = self._thread.submit(self._maps.get, bucket)
        return asked


def _state(placement: Placement, bucket: str) -> object:
    """What tells two maps apart for a bucket; it may have been made anew within an epoch."""
    return placement.epoch, getattr(placement, "buckets", {}).get(bucket)


def _holds(host: str, held: Held, nbytes: int) -> bool:
    """Whether a host holds all of an object, or of a range of one."""
    return any(host in hosts and there >= nbytes for hosts, there in held)


def _addresses(placement: Placement, hosts: Iterable[str]) -> Iterator[str]:
    for host in hosts:
        with contextlib.suppress(PlacementError):  # a host that the map gives no address for: others may do
            yield placement.address(host)


class Places:
    """Finds the places of tasks."""

    def __init__(self, atlas: Atlas):
        self._atlas = atlas
        self._shared: dict[tuple[tuple[str, ...], int, bool, int, int], Place] = {}
        self.buckets: set[str] = set()  # that tasks have asked for

    def of(self, reads: Mapping[Any, Objects], present: Collection[str]) -> dict[Any, Place]:
        """The place of each task that the maps know one for.

        Args:
            reads: what each task reads.
            present: addresses of hosts that have workers now.

        Raises whatever keeps the maps from being there.
        """
        holders = self._holders(reads.values())
        found: dict[Any, Place] = {}
        for key, objects in reads.items():
            place = self._place(objects, holders, present)
            if place is not None:
                found[key] = place
        return found

    def _place(
        self, objects: Objects, holders: Mapping[tuple[str, tuple[str, int, int]], Held], present: Collection[str]
    ) -> Place | None:
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
        away = 0
        if mixed or len(objects) > 1:
            away = sum(not _holds(hosts[0], holders[source.bucket, part], part[2]) for source, part in objects)
        shared = self._shared.get((hosts, nbytes, mixed, len(objects), away))
        if shared is None:
            shared = Place(hosts, nbytes, mixed, set(hosts), len(objects), away)
            self._shared[hosts, nbytes, mixed, len(objects), away] = shared
        return shared

    def _holders(self, reads: Iterable[Objects]) -> dict[tuple[str, tuple[str, int, int]], Held]:
        """Addresses of the hosts of everything that is read. One or two questions for each bucket."""
        whole: defaultdict[str, dict[tuple[str, int, int], None]] = defaultdict(dict)
        parts: defaultdict[str, dict[tuple[str, int, int], None]] = defaultdict(dict)
        for objects in reads:
            for source, part in objects:
                one = part[2] <= OBJECT_BYTES and source.is_whole(part[0])
                (whole if one else parts)[source.bucket][part] = None
        self.buckets.update(whole, parts)
        holders: dict[tuple[str, tuple[str, int, int]], Held] = {}
        for bucket, wanted in whole.items():
            placement = self._atlas.get(bucket)
            addresses: dict[tuple[tuple[str, ...], int], Held] = {}
            for part, hosts in zip(wanted, placement.hosts(bucket, [key for key, _, _ in wanted]), strict=True):
                if (hosts, part[2]) not in addresses:
                    addresses[hosts, part[2]] = [(tuple(_addresses(placement, hosts)), part[2])]
                holders[bucket, part] = addresses[hosts, part[2]]
        for bucket, wanted in parts.items():
            placement = self._atlas.get(bucket)
            try:
                found = self._atlas.holders(bucket, list(wanted))
            except TimeoutError:  # nothing is known in time, which is no reason to leave all else unplaced
                found = [()] * len(wanted)
            for part, shares in zip(wanted, found, strict=True):
                holders[bucket, part] = [(tuple(_addresses(placement, (host,))), size) for host, size in shares]
        return holders
