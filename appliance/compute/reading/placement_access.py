"""How this process asks for placement: its client of the placement service, and what places ranges of objects.

Made once for each process, from its environment. Raises KeyError where the environment names no placement service.
"""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING

from appliance.placement.errors import PlacementError

if TYPE_CHECKING:
    from appliance.placement import MapClient, Ranges

MAP_RETRY = 10.0  # s for which a placement service that did not answer is not asked again
PART_BYTES_MIN = 5 * 2**20  # S3's limit for all parts of an upload but the last
PART_BYTES_WITHOUT_MAP = 64 * 2**20  # any size is right then: where the parts lie is told by the object's layout


@functools.cache
def maps() -> MapClient:
    """Return this process's client of the placement service.

    Raises:
        KeyError: the environment names none (``APPLIANCE_PLACEMENT_URL``).
    """
    from appliance.placement import MapClient

    return MapClient(os.environ["APPLIANCE_PLACEMENT_URL"], retry_after=MAP_RETRY)


@functools.cache
def ranges() -> Ranges:
    """Return what places ranges of objects for this process.

    Raises:
        KeyError: as ``maps``.
        PlacementUnavailable: the environment names no S3 endpoint or no keys.
    """
    from appliance.placement import ObjectLookup, Ranges

    return Ranges(maps(), ObjectLookup.from_environment())


def object_bytes() -> int:
    """Return up to which size an object is one RADOS object, on one host. May ask for the placement map."""
    try:
        return maps().get().chunk_bytes
    except (KeyError, PlacementError):
        return PART_BYTES_WITHOUT_MAP


def part_bytes() -> int:
    """Return the size of a part of an upload: one RADOS object, or a few where these are smaller than S3's limit.

    May ask for the placement map: not for an event loop. Without a map, parts have a size that is right as well.
    """
    chunk_bytes = object_bytes()
    return chunk_bytes * math.ceil(PART_BYTES_MIN / chunk_bytes)
