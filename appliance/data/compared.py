"""What a researcher reads of a virtual dataset, compared with the files as xarray opens them.

Compared are names, dimensions, attributes, encodings and values: of arrays in files those of the first and the last
chunk, of one that was never written, of some at random and of all small arrays; or of all chunks. Of the files between
the first and the last one, a chunk each of a few arrays.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from appliance.data import DataError
from appliance.data.described import TEXT, Described, is_virtual
from appliance.data.preprocess import Preprocess
from appliance.data.sameness import (
    compare_attributes,
    compare_encodings,
    difference,
    is_widened,
    rounding_of,
    same_values,
)
from appliance.data.sources import Readable
from appliance.data.stored import grid_of

SMALL_BYTES = 2**20  # arrays up to this are compared whole
BATCH_BYTES = 64 * 2**20  # of chunks in the copy of a file at a time
RANDOM = 3  # chunks of an array, beside its ends
OF_EACH_FILE = 4  # arrays, drawn by lot, of which a chunk is compared in each file between the first and the last
Index = tuple[int, ...]
Region = tuple[slice, ...]


@dataclass(frozen=True)
class Part:
    """Which files a part of the dataset comes from.

    Attributes:
        dim: the dimension along which files were joined; "" for one file.
        start: where the file's part begins along it.
        length: how long it is.
    """

    dim: str = ""
    start: int = 0
    length: int = 0

    def of(self, variable: xr.Variable) -> Region:
        """The file's part of the dataset's variable."""
        return self._moved(variable, tuple(slice(0, size) for size in self._shape(variable)), self.start)

    def in_file(self, variable: xr.Variable, region: Region) -> Region:
        """A region of the dataset's variable, in the file's."""
        return self._moved(variable, region, -self.start)

    def _shape(self, variable: xr.Variable) -> list[int]:
        return [
            self.length if dim == self.dim else size for dim, size in zip(variable.dims, variable.shape, strict=True)
        ]

    def _moved(self, variable: xr.Variable, region: Region, by: int) -> Region:
        return tuple(
            slice(axis.start + by, axis.stop + by) if dim == self.dim else axis
            for dim, axis in zip(variable.dims, region, strict=True)
        )


@dataclass
class Check:
    """Compares one dataset with one of its files after the other.

    Attributes:
        made: the dataset, opened as a researcher opens it.
        described: what was written of it.
        preprocess: what was dropped and renamed.
        everything: whether all chunks are compared.
        decode_times: whether ``made`` was opened with times decoded.
        values: how many values have been compared.
        notes: what the user should know, by variable.
    """

    made: xr.Dataset
    described: Described
    preprocess: Preprocess
    everything: bool = False
    decode_times: bool = True
    values: int = 0

    def __post_init__(self) -> None:
        self.notes: dict[str, str] = {}
        self._random = random.Random()  # noqa: S311  # a sample, no secret
        self._lot: set[str] = set()

    def file(self, source: Readable, part: Part, first: bool, progress: Callable[[], None]) -> None:
        """Compare one file; ``progress`` is called after each chunk, or array that is no chunks.

        Raises ``DataError`` with file, variable and difference.
        """
        chosen = list(self._chosen(source, part))
        for number, batch in enumerate(self._batches(chosen)):
            source.copy.fetch(each for _, _, ranges in batch for each in ranges)
            with self._opened(source) as truth:
                if number == 0:
                    self._compare_frame(source.url, truth, part, first)
                for name, region, _ in batch:
                    self._compare_values(source.url, name, truth, region, part)
                    progress()
            source.copy.forget()
        source.copy.check_unchanged()

    @contextlib.contextmanager
    def _opened(self, source: Readable) -> Iterator[xr.Dataset]:
        """The file as xarray opens it, with variables dropped and renamed before it is decoded."""
        if self.preprocess == Preprocess():
            with source.opened(decode_times=self.decode_times) as dataset:
                yield dataset
            return
        with source.raw() as (raw, attributes):
            variables, attributes = self.preprocess.applied(source.url, raw, attributes)
            with source.named("xarray cannot decode it"):
                dataset = xr.decode_cf(xr.Dataset(variables, attrs=attributes), decode_times=self.decode_times)
            yield dataset

    # What is compared

    def _chosen(self, source: Readable, part: Part) -> Iterator[tuple[str, Region, list[tuple[int, int]]]]:
        """Name, region of the dataset and ranges of the file, in turn: the copied ones first."""
        names = [name for name, variable in self.described.variables.items() if is_virtual(variable)]
        self._lot = set(self._random.sample(names, min(len(names), OF_EACH_FILE)))
        for name, variable in self.described.variables.items():
            if not is_virtual(variable) and name in self.made.variables:
                # Decoded: characters are one axis less then.
                yield name, part.of(self.made[name].variable), []
        for name, variable in self.described.variables.items():
            if is_virtual(variable):
                for index in self._indices(name, variable, source.url, part):
                    entry = variable.data.manifest.get_entry(index)
                    ranges = [(entry["offset"], entry["offset"] + entry["length"])] if entry else []
                    yield name, _region(variable, index), ranges

    def _indices(self, name: str, variable: xr.Variable, url: str, part: Part) -> list[Index]:
        """The chunks of a file that are compared."""
        grid = grid_of(variable.shape, variable.data.chunks)
        axes = [range(count) for count in grid]
        if part.dim in variable.dims:
            axis = variable.dims.index(part.dim)
            chunk = variable.data.chunks[axis]
            axes[axis] = range(part.start // chunk, -(-(part.start + part.length) // chunk))
        elif part.dim and url != self.described.url:
            return []
        count = math.prod(len(axis) for axis in axes)
        alone = part.dim not in variable.dims
        if self.everything or variable.nbytes <= SMALL_BYTES or (alone and count <= RANDOM + 3):
            return list(itertools.product(*axes))
        first, last = alone or not part.start, alone or part.start + part.length == variable.sizes[part.dim]
        chosen = {tuple(axis[-1 if end else 0] for axis in axes) for end in (False, True) if (first, last)[end]}
        some = RANDOM if first else int(name in self._lot)
        chosen |= {tuple(self._random.choice(axis) for axis in axes) for _ in range(some)}
        paths = variable.data.manifest._paths[tuple(slice(axis[0], axis[-1] + 1) for axis in axes)]
        never = np.argwhere(paths == "")
        if len(never) and (first or name in self._lot):
            index = never[self._random.randrange(len(never))]
            chosen.add(tuple(int(at) + axis[0] for at, axis in zip(index, axes, strict=True)))
        return sorted(chosen)

    @staticmethod
    def _batches(chosen: Sequence[Any]) -> Iterator[list[Any]]:
        batch: list[Any] = []
        nbytes = 0
        for each in chosen:
            batch.append(each)
            nbytes += sum(end - start for start, end in each[2])
            if nbytes >= BATCH_BYTES:
                yield batch
                batch, nbytes = [], 0
        yield batch

    # How it is compared

    def _compare_frame(self, url: str, truth: xr.Dataset, part: Part, first: bool) -> None:
        made = self.made
        for what, here, there in (
            ("variables", set(map(str, made.variables)), set(map(str, truth.variables))),
            ("coordinates", set(map(str, made.coords)), set(map(str, truth.coords))),
        ):
            if here != there:
                names = ", ".join(sorted(here ^ there))
                raise difference(url, f"its {what}", f"differ by {names}")
        dropped = self.described.dropped
        compare_attributes(url, "the dataset", made.attrs, truth.attrs, dropped.get("", set()) if first else None)
        for name in truth.variables:
            a, b = made[name].variable, truth[name].variable
            who = f"variable {name!r}"
            sizes = {**a.sizes, part.dim: part.length} if part.dim in a.dims else dict(a.sizes)
            if a.dims != b.dims or sizes != dict(b.sizes):
                raise difference(url, who, f"has the dimensions {sizes}, but {dict(b.sizes)} in the file")
            compare_attributes(url, who, a.attrs, b.attrs, dropped.get(str(name), set()) if first else None)
            self._compare_dtype(url, str(name), a, b)
            if first and name not in self.described.recounted:
                compare_encodings(url, who, a, b)

    def _compare_dtype(self, url: str, name: str, a: xr.Variable, b: xr.Variable) -> None:
        kinds = tuple(v.dtype.newbyteorder("=") if v.dtype.kind in "iuf" else v.dtype for v in (a, b))
        if kinds[0] == kinds[1] or all(v.dtype.kind in TEXT for v in (a, b)):
            return
        if is_widened(a, b):
            self.notes[name] = (
                f"is {a.dtype} here and {b.dtype} in the file: its scale_factor or add_offset is of a short type, "
                "which attributes in Zarr cannot be"
            )
            return
        raise difference(url, f"variable {name!r}", f"is {a.dtype}, but {b.dtype} in the file")

    def _compare_values(self, url: str, name: str, truth: xr.Dataset, region: Region, part: Part) -> None:
        made = self.made[name].variable[region]
        there = part.in_file(made, region)
        who = f"variable {name!r}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = np.asarray(truth[name].variable[there].values)
            except Exception as error:
                raise DataError(
                    f"{url}: {who}: xarray cannot read it: {error}; way out: rewrite the file, or leave the variable "
                    f"out with --preprocess drop={name}"
                ) from error
            try:
                found = np.asarray(made.values)
            except Exception as error:  # of codecs, of Zarr, of S3
                raise difference(url, who, f"cannot be read: {error}") from error
        self.values += found.size
        if found.shape != expected.shape:
            raise difference(url, who, f"has the shape {found.shape}, but {expected.shape} in the file")
        whole = truth[name].variable
        rounding = rounding_of(found, expected, whole)
        same = same_values(found, expected, rounding)
        if (
            rounding is not None
            and found.dtype == expected.dtype
            and not np.array_equal(found, expected, equal_nan=True)
        ):
            self.notes[name] = (
                "may differ by the last digit of float32 from the file, since it is scaled in another way"
            )
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0]) if same.ndim else ()
            here = tuple(i + axis.start for i, axis in zip(at, there, strict=True)) if at else ()
            raise difference(url, who, f"at {here} is {found[at]!s}, but {expected[at]!s} in the file")


def _region(variable: xr.Variable, index: Index) -> Region:
    return tuple(
        slice(at * chunk, min((at + 1) * chunk, size))
        for at, chunk, size in zip(index, variable.data.chunks, variable.shape, strict=True)
    )
