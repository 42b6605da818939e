"""Where the arrays of netCDF-3 files lie: by kerchunk's reading of the header, and no further.

Of kerchunk's references themselves nothing is used: they make text of all attributes, drop ``_FillValue``, and count
records wrongly where a single array of short records has no padding (kerchunk 0.2.10).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from appliance.data.stored import Layout, Numbers, Stored, one_piece

STREAMING = -1  # instead of the number of records: it was not known when the header was written


def read(url: str, file_bytes: int) -> Layout:
    """The layout of a netCDF-3 file of ``file_bytes`` bytes. Raises whatever kerchunk meets in a damaged one."""
    from kerchunk.netCDF3 import NetCDF3ToZarr

    header = NetCDF3ToZarr(url, inline_threshold=0)
    try:
        # The file is closed here, and not when garbage is collected: scipy's destructor would read from it once more.
        chunks, variables, records = dict(header.chunks), dict(header.variables), int(header._recs)
    finally:
        header.fp.close()
    arrays, end = {}, 0
    for name, (offset, _, dtype, shape) in ((n, c) for n, c in chunks.items() if n != "record_array"):
        arrays[name] = one_piece(tuple(int(size) for size in shape), int(offset), Numbers(np.dtype(dtype)))
        end = max(end, int(offset) + int(arrays[name].lengths.sum()))  # the last array's padding may be missing
    for start, _, fields in chunks.get("record_array", []):
        record = np.dtype(fields)
        count = (file_bytes - start) // record.itemsize if records == STREAMING else records
        # So may the last record's.
        named = [record.fields[name] for name in record.names if not name.startswith("_padding_")]
        last = max(at + part.itemsize for part, at in named)
        end = max(end, start + (count - 1) * record.itemsize + last if count else 0)
        for name in (name for name in record.names if not name.startswith("_padding_")):
            part, at = record.fields[name][:2]
            arrays[name] = _of_records(count, part, start + at, record.itemsize)
    return Layout({_utf8(name): arrays[name] for name in variables if name in arrays}, end)


def _utf8(name: str) -> str:
    """A name as the netCDF library reads it; scipy takes it for Latin-1."""
    return name.encode("latin1").decode("utf-8", errors="replace")


def _of_records(count: int, part: np.dtype[Any], start: int, step: int) -> Stored:
    """An array along the dimension of records, of which each lies by itself between those of the other arrays."""
    shape = (count, *(int(size) for size in part.shape))
    numbers = Numbers(part.base)
    if step == part.itemsize or 0 in shape:  # the only array of records: they follow each other
        return one_piece(shape, start, numbers)
    grid = (count, *(1 for _ in part.shape))
    offsets = (start + step * np.arange(count, dtype="i8")).astype("u8").reshape(grid)
    lengths = np.full(grid, math.prod(part.shape) * part.base.itemsize, dtype="u8")
    return Stored(shape, (1, *(max(1, size) for size in part.shape)), offsets, lengths, numbers)
