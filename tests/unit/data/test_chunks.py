"""Shapes of chunks for an access, the blocks in which they are copied, and the way in which they are compressed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from appliance.data import DataError, codec_choice
from appliance.data.blocks import planned, smaller
from appliance.data.chunk_advice import MIB, WANTED_BYTES, advise, kinds_of
from appliance.data.codec_choice import Trial, best
from appliance.data.described import stand_in

DAYS = {"units": "days since 2000-01-01"}
OBJECT = 64 * MIB


def field(shape: tuple[int, ...], dims: tuple[str, ...] = ("time", "y", "x")) -> dict[str, xr.Variable]:
    return {"t": xr.Variable(dims, stand_in(np.dtype("f4"), shape)), "time": xr.Variable("time", np.zeros(1), DAYS)}


def test_hourly_maps_are_cut_for_their_use() -> None:
    hours = field((14600, 721, 1440))
    shapes = {access: advise("t", hours, access, OBJECT).chunks for access in ("map", "series", "both")}
    assert shapes["map"] == (8, 721, 1440)
    assert shapes["series"] == (14600, 23, 24)
    both = advise("t", hours, "both", OBJECT)
    assert 0.5 < both.read_by("map") / both.read_by("series") < 2
    assert advise("t", hours, "map", OBJECT).read_by("map") == 1
    assert advise("t", hours, "series", OBJECT).read_by("series") == 1


SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=4)


@given(SIZES, st.sampled_from(["map", "series", "both"]), st.sampled_from([MIB, 16 * MIB, OBJECT]))
def test_chunks_are_no_larger_than_an_object_and_not_needlessly_small(
    sizes: list[int], access: str, object_bytes: int
) -> None:
    dims = ("time", "z", "y", "x")[: len(sizes)]
    advice = advise("t", field(tuple(sizes), dims), access, object_bytes)
    most = min(WANTED_BYTES, object_bytes // 2)
    assert all(1 <= chunk <= size for chunk, size in zip(advice.chunks, sizes, strict=True))
    assert advice.chunk_bytes <= most
    # A half is lost at most where one axis more would not fit whole, and is cut into parts of like length.
    assert advice.chunk_bytes >= min(math.prod(sizes) * 4, most) / 2 ** len(sizes)


def test_dimensions_are_known_by_their_coordinates() -> None:
    variables = field((2, 3, 4), ("time", "rlat", "rlon"))
    assert kinds_of("t", variables) == ("time", "horizontal", "horizontal")
    axes = {"lon": "X", "lat": "Y", "plev": "Z"}
    variables = {dim: xr.Variable(dim, np.zeros(2), {"axis": axis}) for dim, axis in axes.items()}
    variables["t"] = xr.Variable(("lon", "lat", "plev", "member"), np.zeros((2, 2, 2, 2)))
    assert kinds_of("t", variables) == ("horizontal", "horizontal", "other", "other")


def test_wished_lengths_are_kept_and_too_large_ones_refused() -> None:
    hours = field((14600, 721, 1440))
    assert advise("t", hours, "both", OBJECT, {"time": 100, "y": 10**6, "other": 3}).chunks[:2] == (100, 721)
    assert advise("t", hours, "both", OBJECT, {"time": -1, "y": 20, "x": 20}).chunks == (14600, 20, 20)
    with pytest.raises(DataError, match=r"variable 't': chunks of time=14600, y=721, x=1 have .* --chunks"):
        advise("t", hours, "both", MIB, {"time": -1, "y": -1})


AXES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3)


@given(AXES, st.integers(1, 4000))
def test_blocks_hold_each_chunk_once_and_say_how_often_values_are_read(
    axes: list[tuple[int, int, int]], block_bytes: int
) -> None:
    shape, chunks, old = (tuple(axis) for axis in zip(*axes, strict=True))
    blocks = planned(shape, chunks, old, 1, block_bytes)
    seen: list[tuple[int, ...]] = []
    read = 0
    for region in blocks.regions():
        seen += blocks.chunks_of(region)
        whole = [
            min(-(-axis.stop // o) * o, size) - axis.start // o * o
            for axis, o, size in zip(region, blocks.old, shape, strict=True)
        ]
        read += math.prod(whole)
    grid = [range(-(-size // chunk)) for size, chunk in zip(shape, blocks.chunks, strict=True)]
    assert sorted(seen) == sorted(itertools.product(*grid))
    assert blocks.count == len(list(blocks.regions()))
    assert blocks.reads == pytest.approx(read / math.prod(shape))
    assert blocks.nbytes <= max(block_bytes, math.prod(blocks.chunks))


def test_a_block_grows_where_it_saves_reading() -> None:
    assert planned((100, 8, 100), (100, 1, 1), (1, 8, 100), 1, 100 * 64).reads == 13
    assert planned((100, 100), (10, 100), (10, 100), 1, 10**6).count == 1


def test_a_small_part_is_at_the_end_that_is_asked_for() -> None:
    part = (slice(0, 100), slice(5, 8))

    def is_small(region: tuple[slice, ...]) -> bool:
        return math.prod(axis.stop - axis.start for axis in region) <= 10

    assert smaller(part, is_small) == (slice(0, 3), slice(5, 8))
    assert smaller(part, is_small, last=True) == (slice(98, 100), slice(5, 8))


def test_the_way_that_gives_a_chunk_back_first_is_taken() -> None:
    slow_and_small, fast, none = Trial("a", 10, 100e6), Trial("b", 2, 2e9), Trial("none", 1, float("inf"))
    assert best([slow_and_small, fast, none]).way == "b"
    assert best([slow_and_small, none]).way == "none"
    assert best([Trial("a", 10, 1e9), fast]).way == "a"


def test_ways_are_tried_on_values_and_give_them_back() -> None:
    import zarr

    values = np.arange(10_000, dtype="i4")
    trials = {trial.way: trial for trial in codec_choice.measured(values)}
    assert set(trials) == set(codec_choice.WAYS)
    assert trials["none"].ratio == 1
    assert all(trials[way].ratio > 2 for way in trials if way != "none")
    for way in trials:
        array = zarr.create_array(
            {}, shape=values.shape, chunks=(1000,), dtype="i4", compressors=codec_choice.codecs(way, 4)
        )
        array[:] = values
        assert (array[:] == values).all()
    with pytest.raises(DataError, match="compression 'best' is unknown: choose one of measured, none"):
        codec_choice.check("best")
