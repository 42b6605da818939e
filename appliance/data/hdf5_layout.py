"""Where the arrays of HDF5 and netCDF-4 files lie: by h5py, as VirtualiZarr's parser asks it.

VirtualiZarr's own parser stops at the first array that it cannot describe, reads compact arrays as never written, and
overlooks filters that HDF5 left out of single chunks (2.5.1): so the chunks are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from appliance.data.stored import Layout, Numbers, Stored, grid_of, one_piece

# A variable that bears the name of a dimension and is no coordinate of it (netCDF-4's own way, nc4internal.h).
NON_COORDINATE = "_nc4_non_coord_"
# HDF5's registered filters that numcodecs undoes: the names are for messages.
NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp"}


def read(file: Any, group: str | None) -> Layout:
    """The layout of an HDF5 file's group, the root's if None.

    Args:
        file: an object that h5py reads from.
        group: its path.

    Raises:
        KeyError: there is no such group; the argument is the list of those that there are.
        OSError: it is no HDF5 file, or a damaged one.
    """
    import h5py

    with h5py.File(file, mode="r") as opened:
        groups: list[str] = []
        opened.visititems(lambda name, item: groups.append(name) if isinstance(item, h5py.Group) else None)
        found = opened.get(group or "/")
        if not isinstance(found, h5py.Group):
            raise KeyError(groups)
        arrays = {}
        for name, item in found.items():
            if isinstance(item, h5py.Dataset):
                arrays[name.removeprefix(NON_COORDINATE)] = _stored(item)
        return Layout(arrays, groups=groups)


def _stored(dataset: Any) -> Stored:
    import h5py

    plist = dataset.id.get_create_plist()
    if dataset.shape is None:  # HDF5's null space: no value at all
        return one_piece((), 0, None, "it has no space for values")
    shape = tuple(int(size) for size in dataset.shape)
    dtype = _number(dataset)
    if dtype is None:
        return _listed(dataset, shape, None, f"its type {dataset.dtype} is none of Zarr's")
    if dataset.is_virtual or dataset.external:
        return one_piece(shape, 0, None, "its values lie in other files")
    if plist.get_layout() == h5py.h5d.COMPACT:
        return one_piece(shape, 0, None, "its values lie in the header")
    codecs, obstacle = [], ""
    for number in range(plist.get_nfilters()):
        code, _, values, _ = plist.get_filter(number)
        codec = _codec(code, values)
        if codec is None:
            obstacle = obstacle or f"its filter {NAMES.get(code, code)} is none of Zarr's"
        else:
            codecs.append(codec)
    return _listed(dataset, shape, None if obstacle else Numbers(dtype, tuple(codecs)), obstacle)


def _number(dataset: Any) -> np.dtype[Any] | None:
    """The type of plain numbers and characters; None for strings, structures and numbers of unusual bits."""
    import h5py

    kind = dataset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeEnumID):
        kind = kind.get_super()  # h5py would make bool of some
    if not isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID | h5py.h5t.TypeStringID):
        return None
    dtype: np.dtype[Any] = np.dtype(kind.dtype)
    if dtype.kind == "S":
        return dtype if dtype.itemsize == 1 and not kind.is_variable_str() else None
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or (dtype.kind == "f" and dtype.itemsize < 4):
        return None
    usual = {"f": {4: h5py.h5t.IEEE_F32LE, 8: h5py.h5t.IEEE_F64LE}}.get(dtype.kind, {})
    if kind.get_precision() != 8 * dtype.itemsize or kind.get_offset() != 0:
        return None
    if usual and kind.get_fields() != usual[dtype.itemsize].get_fields():
        return None
    return dtype


def _codec(code: int, values: tuple[int, ...]) -> Mapping[str, Any] | None:
    """Numcodecs' configuration for a filter of HDF5; None where it has none.

    VirtualiZarr needs hdf5plugin for those of other numbers, and imagecodecs for some: neither is in the environment.
    """
    match code:
        case 1:
            return {"id": "zlib", "level": int(values[0]) if values else 4}
        case 2:
            return {"id": "shuffle", "elementsize": int(values[0])}
        case 3:
            return {"id": "fletcher32"}
        case 307:
            return {"id": "bz2", "level": int(values[0]) if values else 9}
        case 32001:
            return {"id": "blosc"}  # a chunk says itself how it was compressed
        case 32015:
            return {"id": "zstd", "level": 3}  # to undo it, no level is needed
        case _:
            return None


def _listed(dataset: Any, shape: tuple[int, ...], numbers: Numbers | None, obstacle: str) -> Stored:
    """With the places of its chunks."""
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        piece = one_piece(shape, offset or 0, numbers, obstacle)
        lengths = piece.lengths if offset is not None else np.zeros_like(piece.lengths)
        return Stored(shape, piece.chunks, piece.offsets, lengths, numbers, _fill(dataset, numbers), obstacle)
    chunks = tuple(int(size) for size in dataset.chunks)
    offsets, lengths = (np.zeros(grid_of(shape, chunks), dtype="u8") for _ in range(2))
    skipped = 0

    def note(chunk: Any) -> None:
        nonlocal skipped
        index = tuple(at // size for at, size in zip(chunk.chunk_offset, chunks, strict=True))
        if all(at < count for at, count in zip(index, lengths.shape, strict=True)):
            offsets[index], lengths[index] = chunk.byte_offset, chunk.size
            skipped += bool(chunk.filter_mask)

    if 0 not in shape:
        dataset.id.chunk_iter(note)
    if skipped and not obstacle:
        obstacle = f"HDF5 left a filter out of {skipped} of its chunks, as they would have become larger"
    return Stored(shape, chunks, offsets, lengths, numbers, _fill(dataset, numbers), obstacle)


def _fill(dataset: Any, numbers: Numbers | None) -> Any:
    """HDF5's own fill value."""
    return 0 if numbers is None else np.array(dataset.fillvalue).astype(numbers.dtype.newbyteorder("="))[()]
