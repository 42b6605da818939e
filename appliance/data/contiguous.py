"""Arrays that a file holds in one piece (netCDF-3, and HDF5 without chunks), cut into chunks that tasks can read.

Uncompressed rows follow each other, so that any run of them is a chunk of its own: nothing is rewritten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from appliance.data.described import Described, is_virtual

CHUNK_BYTES = 32 * 2**20  # of a chunk at most, where a row is not larger by itself
MANY = 2**16  # chunks of an array in a file: with more, a description takes longer to read than the values


def cut(opened: Sequence[Described]) -> list[Described]:
    """The same files, with arrays in one piece cut along their first dimension.

    The pieces have the same length in all files, and all files are whole numbers of them, so that files of unlike
    length (months) can be joined.
    """
    names = [
        name
        for name in opened[0].variables
        if all(name in each.variables and _in_one_piece(each.variables[name]) for each in opened)
    ]
    done = [replace(each, variables=dict(each.variables)) for each in opened]
    for name in names:
        variables = [each.variables[name] for each in done]
        rows = _rows(math.gcd(*(variable.shape[0] for variable in variables)), variables[0])
        for each, variable in zip(done, variables, strict=True):
            if rows < variable.shape[0]:
                each.variables[name] = variable.copy(deep=False, data=_cut(variable.data, rows))
    return done


def _in_one_piece(variable: xr.Variable) -> bool:
    if not is_virtual(variable) or not variable.shape or 0 in variable.shape:
        return False
    codecs = [type(codec).__name__ for codec in variable.data.metadata.codecs]
    # A file may also hold an array of which nothing was ever written: no piece at all.
    return (
        variable.data.chunks == variable.shape and codecs == ["BytesCodec"] and len(variable.data.manifest.dict()) == 1
    )


def _rows(common: int, variable: xr.Variable) -> int:
    """The largest divisor of ``common`` that makes a chunk of at most CHUNK_BYTES; 1 if none does.

    Where that makes too many chunks (a series of prime length: one for each value), the next larger one is taken.
    """
    row = math.prod(variable.shape[1:]) * variable.dtype.itemsize
    low = [n for n in range(1, math.isqrt(common) + 1) if common % n == 0]
    divisors = sorted({*low, *(common // n for n in low)})
    most = max((n for n in divisors if n * row <= CHUNK_BYTES), default=1)
    return next((n for n in divisors if n >= most and variable.shape[0] // n <= MANY), common)


def _cut(array: Any, rows: int) -> Any:
    from virtualizarr.manifests import ChunkManifest, ManifestArray
    from virtualizarr.manifests.utils import copy_and_replace_metadata

    (entry,) = array.manifest.dict().values()
    count = array.shape[0] // rows
    length = entry["length"] // count
    grid = (count, *(1 for _ in array.shape[1:]))
    manifest = ChunkManifest.from_arrays(
        paths=np.full(grid, entry["path"], dtype=np.dtypes.StringDType()),
        offsets=(entry["offset"] + length * np.arange(count, dtype="u8")).reshape(grid),
        lengths=np.full(grid, length, dtype="u8"),
    )
    metadata = copy_and_replace_metadata(array.metadata, new_chunks=[rows, *array.shape[1:]])
    return ManifestArray(metadata=metadata, chunkmanifest=manifest)
