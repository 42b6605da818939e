"""The placement maps that a scheduler places tasks by, asked for without making the scheduler wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.placement import MapClient, PlacementMap, Ranges

MAP_TIMEOUT = 1.0  # s; a scheduler waits for nothing longer than this
MAP_RETRY = 10.0  # s for which a service that did not answer in time is not asked again


class Atlas:
    """The maps of the buckets that a scheduler's tasks read.

    Args:
        maps: the client of the placement service.
        ranges: what places ranges of files and other large objects; without it nothing is known of these.
        timeout: seconds that a caller waits at most.
        retry: seconds for which a service that did not answer in time is not asked again.
        clock: the time in seconds.
    """

    def __init__(
        self,
        maps: MapClient,
        ranges: Ranges | None = None,
        timeout: float = MAP_TIMEOUT,
        retry: float = MAP_RETRY,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._maps, self._ranges = maps, ranges
        self._timeout, self._retry, self._clock = timeout, retry, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="placement-map")
        self._asked: dict[str, Future[PlacementMap]] = {}
        self._used: dict[str, PlacementMap] = {}
        self._silent_until = float("-inf")

    def get(self, bucket: str) -> PlacementMap:
        """Return the map for a bucket: the newest one, or the last one where the service does not answer in time.

        Raises:
            TimeoutError: no map came in time, and there is none from before.
            PlacementError: whatever the client raises.
        """
        held = self._used.get(bucket)
        if self._clock() < self._silent_until:
            if held is None:
                raise TimeoutError("the placement service did not answer just now")
            return held  # an old map costs a few remote reads, no map makes all reads random
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
        """Return the hosts of ranges of objects.

        Args:
            bucket: the bucket of the objects.
            ranges: key, offset and length in bytes of each range.

        Returns:
            for each range the hosts, with the bytes that each holds; empty where nothing is known.

        Raises:
            TimeoutError: the answer takes too long, as the first one for thousands of files may. It is kept when it
                comes, and the next question finds it there.
        """
        if self._ranges is None:
            return [()] * len(ranges)
        return self._thread.submit(self._ranges.hosts_of_ranges, bucket, ranges).result(self._timeout)

    async def changed(self, buckets: Collection[str]) -> bool:
        """Ask for the maps again, beside the event loop. Returns whether one differs from the one that was used last.

        Raises:
            TimeoutError: no map came in time.
            PlacementError: whatever the client raises.
        """
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

    def _ask(self, bucket: str) -> Future[PlacementMap]:
        asked = self._asked.get(bucket)
        if asked is None or asked.done():
            asked = self._asked[bucket] = self._thread.submit(self._maps.get, bucket)
        return asked


def _state(placement: PlacementMap, bucket: str) -> object:
    """Return what tells two maps apart for a bucket: it may have been deleted and made again within an epoch."""
    return placement.epoch, placement.buckets.get(bucket)
