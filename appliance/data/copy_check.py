"""What was copied, compared with the files as xarray opens them: see ``compared``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import xarray as xr

from appliance.data.blocks import Blocks, Region, region, smaller
from appliance.data.compared import BATCH_BYTES, OF_EACH_FILE, RANDOM, SMALL_BYTES, Check, Part
from appliance.data.copying import is_near, ranges_of
from appliance.data.sources import Readable
from appliance.data.stored import grid_of


@dataclass
class CopyCheck(Check):
    """Compares a copied dataset with one of its files after the other.

    Attributes:
        blocks: of the variables that were copied in blocks.
        old_names: what variables are called in the files, where it is not what they are called here.
    """

    blocks: Mapping[str, Blocks] = field(default_factory=dict)
    old_names: Mapping[str, str] = field(default_factory=dict)

    def _chosen(self, source: Readable, part: Part) -> Iterator[tuple[str, Region, list[tuple[int, int]]]]:
        names = list(self.blocks)
        self._lot = set(self._random.sample(names, min(len(names), OF_EACH_FILE)))
        for name in self.described.variables:
            if name not in self.blocks and name in self.made.variables:
                yield name, part.of(self.made[name].variable), []
        for name in self.blocks:
            variable = self.described.variables[name]
            whole = part.of(variable)
            if part.dim and part.dim not in variable.dims and source.url != self.described.url:
                continue
            for wanted, at_end in self._wanted(name, variable, whole):

                def is_small(region: Region, name: str = name, variable: xr.Variable = variable) -> bool:
                    old_name = self.old_names.get(name, name)
                    return is_near(source, old_name, part.in_file(variable, region), BATCH_BYTES)

                # A new chunk may lie across so many of the file's that they are too much to fetch.
                region = wanted if self.everything else smaller(wanted, is_small, at_end, self.blocks[name].old)
                yield name, region, ranges_of(source, self.old_names.get(name, name), part.in_file(variable, region))

    def _wanted(self, name: str, variable: xr.Variable, whole: Region) -> Iterator[tuple[Region, bool]]:
        """The parts of a file's part of a variable that are compared, and whether each is one at the end."""
        blocks = self.blocks[name]
        if self.everything or variable.nbytes <= SMALL_BYTES:
            yield from ((part, False) for part in _in(whole, blocks.block, blocks.shape))
            return
        grid = grid_of(blocks.shape, blocks.chunks)
        axes = [
            range(axis.start // chunk, -(-axis.stop // chunk)) for axis, chunk in zip(whole, blocks.chunks, strict=True)
        ]
        chosen: set[tuple[int, ...]] = set()
        if all(axis.start == 0 for axis in whole):
            chosen.add((0,) * len(grid))
        if all(axis.stop == size for axis, size in zip(whole, blocks.shape, strict=True)):
            chosen.add(tuple(count - 1 for count in grid))
        some = RANDOM if (0,) * len(grid) in chosen else int(name in self._lot)
        chosen |= {tuple(self._random.choice(axis) for axis in axes) for _ in range(some)}
        for index in sorted(chosen):
            at_end = all(i == count - 1 for i, count in zip(index, grid, strict=True))
            yield _cut(region(index, blocks.chunks, blocks.shape), whole), at_end


def _in(whole: Region, lengths: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[Region]:
    """What lies of each block in a part of the array."""
    axes = [range(axis.start // length, -(-axis.stop // length)) for axis, length in zip(whole, lengths, strict=True)]
    for index in itertools.product(*axes):
        yield _cut(region(index, lengths, shape), whole)


def _cut(one: Region, other: Region) -> Region:
    return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
