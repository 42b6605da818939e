"""In which parts arrays are copied: blocks of whole new chunks, such that old chunks are read as seldom as can be.

One pass, without an intermediate copy: a block holds as many new chunks as its share of memory allows. Where new and
old chunks lie across each other, an old chunk is read by several blocks; how often is known before anything is read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from appliance.data.stored import grid_of

Region = tuple[slice, ...]
MEMORY_FACTOR = 3  # a block as it is read, as chunks that are being encoded, and as what was read of the file


@dataclass(frozen=True)
class Blocks:
    """The blocks of an array.

    Attributes:
        shape: of the array.
        chunks: the new ones.
        old: the chunks that are read.
        block: lengths of a block, multiples of those of ``chunks`` or the whole axis.
        itemsize: bytes of a value.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    old: tuple[int, ...]
    block: tuple[int, ...]
    itemsize: int

    @property
    def count(self) -> int:
        """How many there are."""
        return math.prod(grid_of(self.shape, self.block))

    @property
    def nbytes(self) -> int:
        """Bytes of the values of a block."""
        return math.prod(min(b, s) for b, s in zip(self.block, self.shape, strict=True)) * self.itemsize

    @property
    def reads(self) -> float:
        """How often each value is read."""
        axes = zip(self.shape, self.old, self.block, strict=True)
        return math.prod(_read(size, old, block) / size for size, old, block in axes if size)

    def regions(self) -> Iterator[Region]:
        """The blocks, in turn."""
        yield from (region(index, self.block, self.shape) for index in indices(grid_of(self.shape, self.block)))

    def chunks_of(self, part: Region) -> Iterator[tuple[int, ...]]:
        """The indices of the new chunks in a block."""
        axes = zip(part, self.chunks, strict=True)
        return itertools.product(*(range(axis.start // chunk, -(-axis.stop // chunk)) for axis, chunk in axes))


def indices(grid: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All places on a grid."""
    return itertools.product(*(range(count) for count in grid))


def region(index: Sequence[int], lengths: Sequence[int], shape: Sequence[int]) -> Region:
    """The part of an array at a place of a grid of parts."""
    axes = zip(index, lengths, shape, strict=True)
    return tuple(slice(at * length, min((at + 1) * length, size)) for at, length, size in axes)


def smaller(
    part: Region, is_small: Callable[[Region], bool], last: bool = False, units: Sequence[int] | None = None
) -> Region:
    """A part of a part that is small: its longest axis is halved again and again, to the first or the last half.

    ``units`` are in what each axis is measured, such as the lengths of the chunks that are read; 1 if None.
    """
    units = units or (1,) * len(part)
    while not is_small(part) and any(axis.stop - axis.start > 1 for axis in part):
        lengths = [
            (axis.stop - axis.start) / unit * (axis.stop - axis.start > 1)
            for axis, unit in zip(part, units, strict=True)
        ]
        longest = lengths.index(max(lengths))
        axis = part[longest]
        middle = axis.start + (axis.stop - axis.start) // 2
        half = slice(middle, axis.stop) if last else slice(axis.start, middle)
        part = (*part[:longest], half, *part[longest + 1 :])
    return part


def _read(size: int, old: int, block: int) -> int:
    """How many values along an axis are read by all blocks together: each reads whole old chunks."""
    total = 0
    for start in range(0, size, block):
        end = min(start + block, size)
        total += min(-(-end // old) * old, size) - start // old * old
    return total


def planned(
    shape: tuple[int, ...], chunks: tuple[int, ...], old: tuple[int, ...], itemsize: int, block_bytes: int
) -> Blocks:
    """Blocks of at most ``block_bytes``, or of one chunk where that is more.

    A block grows, each time by the doubled length of one axis, along the axis where that saves most reading for the
    bytes that it takes; where nothing is left to save, along the last one that has room.
    """
    chunks, old = (tuple(max(1, min(c, s)) for c, s in zip(each, shape, strict=True)) for each in (chunks, old))
    made = Blocks(shape, chunks, old, chunks, itemsize)
    while True:
        choices = []
        for axis, (size, length) in enumerate(zip(shape, made.block, strict=True)):
            if length < size:
                longer = min(2 * length, -(-size // chunks[axis]) * chunks[axis])
                block = (*made.block[:axis], longer, *made.block[axis + 1 :])
                grown = Blocks(shape, chunks, old, block, itemsize)
                if grown.nbytes <= block_bytes:
                    saved = math.log(made.reads / grown.reads) / math.log(longer / length)
                    choices.append((round(saved, 9), axis, grown))
        if not choices:
            return made
        made = max(choices, key=lambda choice: choice[:2])[2]
