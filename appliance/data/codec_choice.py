"""How an array is compressed: what its own values say when several ways are tried on a part of them.

A chunk is read more often than it is written. So the way is taken that gives a chunk back first: less to read from a
disk, against more to calculate.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from appliance.data import DataError

DISK_RATE = 200e6  # bytes a second that a worker has of its host's disks, when all workers read (docs/benchmark.md)
SAMPLE_BYTES = 4 * 2**20
TRIES = 3  # of each way; the fastest counts, as others disturb

# By name, each as Zarr 3 writes it down (Zarr core specification 3.0, and its registered codec "blosc").
WAYS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "lz4": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle"},
    "zstd": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"},
    "zstd-bits": {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle"},
    "zstd-more": {"cname": "zstd", "clevel": 7, "shuffle": "shuffle"},
}
MEASURED = "measured"


@dataclass(frozen=True)
class Trial:
    """What came of one way.

    Attributes:
        way: its name.
        ratio: bytes before, as a multiple of those after.
        decode_rate: bytes before compression that are given back in a second.
    """

    way: str
    ratio: float
    decode_rate: float

    @property
    def seconds(self) -> float:
        """To have a byte again, from the disk and through the codec."""
        return 1 / (self.ratio * DISK_RATE) + 1 / self.decode_rate


def codecs(way: str, itemsize: int) -> list[Any]:
    """Zarr's codecs for a way: and a checksum behind them, by which each reader knows whether a chunk is as written."""
    from zarr.codecs import BloscCodec, Crc32cCodec

    settings = WAYS[way]
    return [*([BloscCodec(typesize=itemsize, **settings)] if settings else []), Crc32cCodec()]


def best(trials: Sequence[Trial]) -> Trial:
    """The way that gives a chunk back first."""
    return min(trials, key=lambda trial: trial.seconds)


def measured(sample: np.ndarray, ways: Sequence[str] = tuple(WAYS)) -> list[Trial]:
    """Try ways on some values."""
    import numcodecs

    raw = np.ascontiguousarray(sample.reshape(-1)[: max(1, SAMPLE_BYTES // sample.itemsize)])
    trials = []
    for way in ways:
        settings = WAYS[way]
        if settings is None:
            trials.append(Trial(way, 1.0, float("inf")))
            continue
        shuffle = {"shuffle": numcodecs.Blosc.SHUFFLE, "bitshuffle": numcodecs.Blosc.BITSHUFFLE}[settings["shuffle"]]
        codec = numcodecs.Blosc(cname=settings["cname"], clevel=settings["clevel"], shuffle=shuffle)
        encoded = codec.encode(raw)
        seconds = min(_timed(functools.partial(codec.decode, encoded)) for _ in range(TRIES))
        trials.append(Trial(way, raw.nbytes / len(encoded), raw.nbytes / seconds))
    return trials


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return max(time.perf_counter() - began, 1e-9)


def said(name: str, trials: Sequence[Trial], chosen: Trial) -> str:
    """The trade, as a line of text."""
    tried = ", ".join(
        f"{trial.way} {trial.ratio:.2f}" + (f" at {trial.decode_rate / 1e6:,.0f} MB/s" if trial.ratio != 1 else "")
        for trial in trials
    )
    return f"{name}: compressed with {chosen.way}, which gives a chunk back first (ratio and speed back: {tried})"


def check(way: str) -> None:
    """Raise ``DataError`` for a way that is not known."""
    if way != MEASURED and way not in WAYS:
        raise DataError(f"compression {way!r} is unknown: choose one of {', '.join([MEASURED, *WAYS])}")
