"""Which shape of chunk serves an access: maps (all places at a moment), series (all moments at a place), or both.

One chunk is one object, and one object lies on one host, so a chunk has to be smaller than what the placement map says
of objects. It is large enough that asking for it costs little beside reading it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import xarray as xr

from appliance.data import DataError
from appliance.data.stored import grid_of
from appliance.data.times import is_time

MIB = 2**20
ACCESS = ("map", "series", "both")
WANTED_BYTES = 32 * MIB  # of values in a chunk; it is less where objects are smaller
MOST_OF_AN_OBJECT = 0.5  # what a chunk's values may be of an object: compressed badly, they may be more than they were
TIMES = ("time", "t", "valid_time", "time_counter", "step", "year", "month", "day")
AXES = {"X": "horizontal", "Y": "horizontal", "T": "time", "Z": "other"}  # CF Conventions 1.11, section 4


@dataclass(frozen=True)
class Advice:
    """The shape of a variable's chunks.

    Attributes:
        name: of the variable.
        dims: its dimensions.
        shape: its lengths.
        chunks: the lengths of a chunk.
        itemsize: bytes of a value.
        kinds: of each dimension "time", "horizontal" or "other".
        object_bytes: the most that an object may have to lie on one host.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    itemsize: int
    kinds: tuple[str, ...]
    object_bytes: int

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk's values, before compression."""
        return math.prod(self.chunks) * self.itemsize

    @property
    def objects(self) -> int:
        """How many chunks there are: each is an object."""
        return math.prod(grid_of(self.shape, self.chunks))

    def read_by(self, access: str) -> int:
        """How many objects one map, or one series, takes."""
        free = "horizontal" if access == "map" else "time"
        counts = zip(grid_of(self.shape, self.chunks), self.kinds, strict=True)
        return math.prod(count for count, kind in counts if kind == free)

    def said(self) -> str:
        """The advice and its reasons, as a line of text."""
        shape = " x ".join(f"{dim} {chunk}" for dim, chunk in zip(self.dims, self.chunks, strict=True))
        text = (
            f"{self.name}: chunks of {shape}: {self.objects:,} object{'s'[: self.objects != 1]} of up to "
            f"{self.chunk_bytes / MIB:.3g} MiB before compression, of {self.object_bytes / MIB:.3g} that one host holds"
        )
        if "time" in self.kinds and "horizontal" in self.kinds:
            text += f"; a map reads {self.read_by('map'):,} of them, a series at a place {self.read_by('series'):,}"
        return text


def kinds_of(name: str, variables: Mapping[str, xr.Variable]) -> tuple[str, ...]:
    """Of each dimension of a variable whether it is time, a horizontal one, or another.

    By its coordinate's units and ``axis`` (CF Conventions 1.11, section 4) or name; else the last two are horizontal.
    """
    dims = [str(dim) for dim in variables[name].dims]
    kinds: dict[str, str] = {}
    for dim in dims:
        if dim in variables and is_time(dim, variables):
            kinds[dim] = "time"
        elif dim in variables and (axis := AXES.get(str(variables[dim].attrs.get("axis", "")).upper())):
            kinds[dim] = axis
        elif dim.lower() in TIMES:
            kinds[dim] = "time"
    if "horizontal" not in kinds.values():
        kinds |= dict.fromkeys([dim for dim in dims if dim not in kinds][-2:], "horizontal")
    return tuple(kinds.get(dim, "other") for dim in dims)


def advise(
    name: str,
    variables: Mapping[str, xr.Variable],
    access: str,
    object_bytes: int,
    wished: Mapping[str, int] | None = None,
) -> Advice:
    """The chunks for an access.

    Args:
        name: of the variable.
        variables: of the dataset; of the variable shape and type count, of coordinates attributes.
        access: "map", "series" or "both".
        object_bytes: the most that an object may have to lie on one host.
        wished: lengths of chunks by dimension that are wanted anyhow; -1 is all of it.

    Raises:
        DataError: the wished chunks are larger than an object.
    """
    variable = variables[name]
    dims, kinds = tuple(str(dim) for dim in variable.dims), kinds_of(name, variables)
    itemsize = variable.dtype.itemsize
    wanted = max(1, min(WANTED_BYTES, int(MOST_OF_AN_OBJECT * object_bytes)) // itemsize)
    wished = {dim: variable.sizes[dim] if size == -1 else size for dim, size in (wished or {}).items() if dim in dims}
    fixed = [min(wished[dim], size) if dim in wished else 0 for dim, size in variable.sizes.items()]
    chunks = _shape(variable.shape, kinds, access, wanted, fixed)
    made = Advice(name, dims, variable.shape, chunks, itemsize, kinds, object_bytes)
    if made.chunk_bytes > object_bytes:
        shape = ", ".join(f"{dim}={chunk}" for dim, chunk in zip(dims, chunks, strict=True))
        raise DataError(
            f"variable {name!r}: chunks of {shape} have {made.chunk_bytes:,} bytes, and an object of more than "
            f"{object_bytes:,} lies on several hosts: name smaller ones with --chunks"
        )
    return made


def _shape(
    shape: Sequence[int], kinds: Sequence[str], access: str, wanted: int, fixed: Sequence[int]
) -> tuple[int, ...]:
    """Lengths whose product is at most ``wanted``; those that are not 0 in ``fixed`` are as they are there."""
    chunks = [size or 1 for size in fixed]
    free = {
        kind: [axis for axis, k in enumerate(kinds) if k == kind and not fixed[axis] and shape[axis] > 1]
        for kind in ("time", "horizontal", "other")
    }
    order = {"map": ("horizontal", "other", "time"), "series": ("time", "other", "horizontal")}
    if access == "both" and free["time"] and free["horizontal"]:
        # As many objects for a map as for a series: their product is what it takes to read all moments at all places.
        times, places = (math.prod(shape[axis] for axis in free[kind]) for kind in ("time", "horizontal"))
        room = wanted // math.prod(chunks)
        parts = max(1.0, math.sqrt(times * places / max(1, room)))
        _grow(chunks, shape, free["horizontal"], max(1, int(places / min(parts, places))))
        rest = wanted // math.prod(chunks)
        _grow(chunks, shape, free["time"], rest)
        _grow(chunks, shape, free["horizontal"], wanted // _product_of_others(chunks, free["horizontal"]))
        kinds_left: Sequence[str] = ("other",)
    else:
        kinds_left = order.get(access, order["map"])
    for kind in kinds_left:
        _grow(chunks, shape, free[kind], wanted // _product_of_others(chunks, free[kind]))
    return tuple(chunks)


def _product_of_others(chunks: Sequence[int], axes: Sequence[int]) -> int:
    return max(1, math.prod(size for axis, size in enumerate(chunks) if axis not in axes))


def _grow(chunks: list[int], shape: Sequence[int], axes: Sequence[int], room: int) -> None:
    """Make chunks along some axes as long as fits into ``room`` values, cut into parts of like length.

    All of them are cut into about as many parts, the longest first.
    """
    parts = dict.fromkeys(axes, 1)

    def length(axis: int) -> int:
        return max(1, math.ceil(shape[axis] / parts[axis]))

    while math.prod(length(axis) for axis in axes) > max(1, room):
        longest = max(axes, key=lambda axis: (length(axis), -axis))
        now = length(longest)
        # The next number of parts that makes them shorter.
        parts[longest] = next(n for n in itertools.count(parts[longest] + 1) if math.ceil(shape[longest] / n) < now)
    for axis in axes:
        chunks[axis] = length(axis)
