"""How large the objects that an analysis reads are in the store, compressed as they lie there.

Few objects are asked for one by one, more are listed. Of very many a sample is asked for, drawn evenly over them, and
the others are taken to be as large as its mean.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from appliance.compute.reading import objects

ASKED_MAX = 256  # objects that are asked for one by one: a fraction of a second
LISTED_MAX = 50_000  # objects below a prefix that are listed: 50 questions, some seconds
SAMPLED = 512  # objects of a sample
AT_ONCE = 16  # questions that wait for an answer at the same time
CERTAIN = 1.96  # standard errors on either side of a mean, for 95 %


@dataclass(frozen=True)
class Sizes:
    """The bytes of objects of one array.

    Attributes:
        known: bytes by key; an object that is not there has none, and costs none.
        mean: bytes of each other object, as the sample has it; None where all are known.
        error: how far off the sum may be, in parts of it, at 95 %; 0 where all are known.
        how: how they were found, in words.
    """

    known: Mapping[str, int]
    mean: float | None
    error: float
    how: str

    def of(self, key: str) -> float:
        """Return the bytes of an object, expected where it is not in the sample."""
        if self.mean is None:
            return self.known.get(key, 0)
        return self.known.get(key, self.mean)


def sizes_of(bucket: str, prefix: str, keys: Sequence[str], stored: int) -> Sizes:
    """Return the sizes of objects.

    Args:
        bucket: the bucket's name.
        prefix: what all their keys begin with, up to a slash; "" for the whole bucket.
        keys: the objects' keys, each once.
        stored: the number of objects below the prefix, at most.

    Raises:
        PermissionError, OSError: S3 does not say.
    """
    if len(keys) <= ASKED_MAX:
        return Sizes(_asked(bucket, keys), None, 0.0, "asked for")
    if stored <= LISTED_MAX:
        return Sizes(_listed(bucket, prefix), None, 0.0, "listed")
    # Of each stretch of keys one: a field's poles compress otherwise than its tropics, a start otherwise than an end.
    step = len(keys) / SAMPLED
    drawn = random.Random(len(keys))  # noqa: S311 - repeatable, not secret
    chosen = {keys[min(len(keys) - 1, int((number + drawn.random()) * step))] for number in range(SAMPLED)}
    known = _asked(bucket, sorted(chosen))
    found = [known.get(key, 0) for key in chosen]
    mean = sum(found) / len(found)
    variance = sum((size - mean) ** 2 for size in found) / (len(found) - 1)
    error = CERTAIN * math.sqrt(variance / len(found)) / mean if mean else 0.0
    return Sizes(known, mean, error, f"of {len(chosen):,} of {len(keys):,} objects, drawn evenly")


def _asked(bucket: str, keys: Sequence[str]) -> dict[str, int]:
    store = objects.store(bucket, objects.own_access())

    def one(key: str) -> int | None:
        try:
            return int(store.head(key)["size"])
        except FileNotFoundError:
            return None
        except Exception as error:
            raise objects.plain(error, bucket, key) from error

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="forecast-sizes") as threads:
        found = threads.map(one, keys)
        return {key: size for key, size in zip(keys, found, strict=True) if size is not None}


def _listed(bucket: str, prefix: str) -> dict[str, int]:
    store = objects.store(bucket, objects.own_access())
    found: dict[str, int] = {}
    try:
        page: Sequence[Any]
        for page in store.list(prefix or None):
            found |= {entry["path"]: int(entry["size"]) for entry in page}
    except Exception as error:
        raise objects.plain(error, bucket, prefix) from error
    return found
