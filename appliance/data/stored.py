"""Where the arrays of a NetCDF file lie in it, and in which form: what h5py and kerchunk are asked for.

Only that is taken from there. What the arrays mean (dimensions, types of attributes, fill values) is said by xarray.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

Ranges = list[tuple[int, int]]  # first byte, one behind the last


class Numbers(NamedTuple):
    """How numbers lie in a chunk.

    Attributes:
        dtype: with its byte order.
        codecs: numcodecs' configurations, in the order in which they were applied.
    """

    dtype: np.dtype[Any]
    codecs: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Stored:
    """One array of a file.

    Attributes:
        shape: as the file has it.
        chunks: shape of a chunk.
        offsets: of each chunk's first byte in the file, on the grid of chunks.
        lengths: of each chunk, in bytes; 0 for one that was never written.
        numbers: how a chunk is decoded; None where Zarr has no way to.
        fill: what HDF5 gives for chunks that were never written; it says nothing of missing values.
        obstacle: why the array cannot stay in the file; "" where it can.
        unreadable: why its values cannot be read by the netCDF library either; "" where they can.
        note: what the user should know of it.
        is_plain: whether it has no chunks, and its rows follow each other as they are: some can be read by themselves.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    offsets: np.ndarray
    lengths: np.ndarray
    numbers: Numbers | None
    fill: Any = 0
    obstacle: str = ""
    unreadable: str = ""
    note: str = ""
    is_plain: bool = False

    @property
    def units(self) -> tuple[int, ...]:
        """Lengths of what is read at once: a chunk, or a row."""
        return (1, *self.shape[1:]) if self.is_plain else self.chunks

    def ranges(self) -> Ranges:
        """Where its chunks lie."""
        kept = self.lengths > 0
        starts = self.offsets[kept].tolist()
        return [(start, start + length) for start, length in zip(starts, self.lengths[kept].tolist(), strict=True)]

    def padded(self, shape: tuple[int, ...]) -> Stored:
        """The same array as part of dimensions that grew without it: netCDF fills up what is missing.

        Where that ends within a chunk, the obstacle says so.
        """
        if shape == self.shape:
            return self
        if self.is_plain:
            return replace(self, is_plain=False).padded(shape)
        if len(shape) != len(self.shape) or any(new < old for new, old in zip(shape, self.shape, strict=True)):
            return replace(self, obstacle=f"its shape is {self.shape} in HDF5, and {shape} in netCDF")
        axes = zip(shape, self.shape, self.chunks, strict=True)
        if any(new != old and old % chunk for new, old, chunk in axes):
            return replace(self, obstacle=f"it ends within a chunk, at {self.shape} of {shape}")
        grid = grid_of(shape, self.chunks)
        more = [(0, new - old) for new, old in zip(grid, self.lengths.shape, strict=True)]
        offsets, lengths = (np.pad(each, more) for each in (self.offsets, self.lengths))
        return replace(self, shape=shape, offsets=offsets, lengths=lengths)


@dataclass(frozen=True)
class Layout:
    """The arrays of a file, or of one group of it.

    Attributes:
        arrays: by their names in netCDF.
        nbytes: what the file needs to have at least; 0 where that is not known.
        elsewhere: where large arrays of other groups lie, which nobody asks for.
        groups: those within it that are not read with it.
    """

    arrays: dict[str, Stored]
    nbytes: int = 0
    elsewhere: Ranges = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


def grid_of(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """How many chunks there are along each axis."""
    return tuple(-(-size // max(1, chunk)) for size, chunk in zip(shape, chunks, strict=True))


def one_piece(shape: tuple[int, ...], offset: int, numbers: Numbers | None, obstacle: str = "") -> Stored:
    """An array without chunks, whole in one place."""
    grid = (1,) * len(shape)
    length = 0 if numbers is None else math.prod(shape) * numbers.dtype.itemsize
    at = [np.full(grid, value, dtype="u8") for value in (offset, length)]
    chunks = tuple(max(1, size) for size in shape)
    is_plain = length > 0 and len(shape) > 0
    return Stored(shape, chunks, at[0], at[1], numbers, obstacle=obstacle, is_plain=is_plain)
