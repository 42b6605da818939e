"""Where the arrays of HDF5 and netCDF-4 files lie: by h5py, as VirtualiZarr's parser asks it.

VirtualiZarr's own parser stops at the first array that it cannot describe, reads compact arrays as never written, and
overlooks filters that HDF5 left out of single chunks (2.5.1): so the chunks are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from appliance.data.stored import Layout, Numbers, Ranges, Stored, grid_of, one_piece

# A variable that bears the name of a dimension and is no coordinate of it (netCDF-4's own way, nc4internal.h).
NON_COORDINATE = "_nc4_non_coord_"
SMALL_BYTES = 2**20  # of another group's array, up to which it is fetched with what lies around it
# HDF5's registered filters that numcodecs undoes: the names are for messages.
NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp"}


class NoGroupError(Exception):
    """There is no such group; the message lists those that there are."""


class UnreadableError(Exception):
    """A file that must not be opened; the message names the variable."""


def read(file: Any, group: str | None) -> Layout:
    """The layout of an HDF5 file's group, the root's if None.

    Args:
        file: an object that h5py reads from.
        group: its path.

    Raises:
        NoGroupError: there is no such group.
        OSError: it is no HDF5 file, or a damaged one.
        UnreadableError: there is something in it with which the netCDF library does not open it, or crashes.
    """
    import h5py

    with h5py.File(file, mode="r") as opened:
        groups: list[str] = []
        filled: dict[str, None] = {}  # those in which there are arrays
        elsewhere: Ranges = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                groups.append(name)
            elif isinstance(item, h5py.Dataset) and item.shape is None:
                raise UnreadableError(
                    f"variable {name!r}: has no space for values (HDF5's null space), and the netCDF library opens no "
                    "file with one; way out: write the file without it"
                )
            elif isinstance(item, h5py.Dataset) and _is_deadly(item):
                raise UnreadableError(
                    f"variable {name!r}: is of {_type_name(item)} with a fill value, at which the netCDF library "
                    "(4.10.1) crashes; way out: rewrite it as float32"
                )
            elif (
                isinstance(item, h5py.Dataset)
                and name.rpartition("/")[0] != (group or "").strip("/")
                and item.id.get_storage_size() > SMALL_BYTES
            ):
                elsewhere.extend(_listed(item, tuple(item.shape), None, "of another group").ranges())

            if isinstance(item, h5py.Dataset) and "/" in name:
                filled[name.rpartition("/")[0]] = None

        opened.visititems(visit)
        found = opened.get(group or "/")
        if not isinstance(found, h5py.Group):
            raise NoGroupError(", ".join(groups) or "none")
        arrays = {}
        for name in found:
            try:
                item = found[name]
            except (KeyError, OSError):  # a link to somewhere else
                continue
            if isinstance(item, h5py.Dataset):
                arrays[name.removeprefix(NON_COORDINATE)] = _stored(item)
        within = f"{found.name.strip('/')}/".removeprefix("/")
        return Layout(arrays, elsewhere=elsewhere, groups=[name for name in filled if name.startswith(within)])


def _is_odd_float(dataset: Any) -> bool:
    """Floats of unusual size: netCDF-C 4.10.1 lists them, and writes behind its memory as it reads them."""
    import h5py

    kind = dataset.id.get_type()
    return isinstance(kind, h5py.h5t.TypeFloatID) and kind.get_size() not in (4, 8)


def _is_deadly(dataset: Any) -> bool:
    """Those with a fill value, which it reads as it opens the file."""
    import h5py

    return _is_odd_float(dataset) and bool(
        dataset.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    )


def _stored(dataset: Any) -> Stored:
    import h5py

    plist = dataset.id.get_create_plist()
    shape = tuple(int(size) for size in dataset.shape)
    dtype = _number(dataset)
    if _is_odd_float(dataset):
        found = _listed(dataset, shape, None, f"its type ({_type_name(dataset)}) is none of netCDF's")
        return replace(found, unreadable=f"is of {_type_name(dataset)}, at which the netCDF library crashes (4.10.1)")
    if dtype is None:
        return _listed(dataset, shape, None, f"its type ({_type_name(dataset)}) is none of Zarr's")
    if dataset.is_virtual or dataset.external:
        # A copy of this file alone would give HDF5's fill value for them, without a word.
        found = one_piece(shape, 0, None, "its values lie in other files")
        return replace(found, unreadable="its values lie in other files (HDF5's virtual or external storage)")
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


def _type_name(dataset: Any) -> str:
    try:
        return str(dataset.dtype)
    except TypeError:  # h5py knows no NumPy type for it
        return f"HDF5's class {dataset.id.get_type().get_class()}"


def _number(dataset: Any) -> np.dtype[Any] | None:
    """The type of plain numbers and characters; None for strings, structures and numbers of unusual bits."""
    import h5py

    kind = dataset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeEnumID):
        kind = kind.get_super()  # h5py would make bool of some
    if not isinstance(kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID | h5py.h5t.TypeStringID):
        return None
    try:
        dtype: np.dtype[Any] = np.dtype(kind.dtype)
    except TypeError:
        return None
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
    Levels are not needed to undo a filter. One for all lets files be joined that were compressed at several.
    """
    match code:
        case 1:
            return {"id": "zlib", "level": 4}
        case 2:
            return {"id": "shuffle", "elementsize": int(values[0])}
        case 3:
            return {"id": "fletcher32"}
        case 307:
            return {"id": "bz2", "level": 9}
        case 32001:
            return {"id": "blosc"}  # a chunk says itself how it was compressed
        case 32015:
            return {"id": "zstd", "level": 3}
        case _:
            return None


def _listed(dataset: Any, shape: tuple[int, ...], numbers: Numbers | None, obstacle: str) -> Stored:
    """With the places of its chunks."""
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        piece = one_piece(shape, offset or 0, numbers, obstacle)
        lengths = np.full_like(piece.lengths, 0 if offset is None else dataset.id.get_storage_size())
        is_plain = piece.is_plain and bool((lengths == piece.lengths).all())
        return replace(piece, lengths=lengths, fill=_fill(dataset, numbers), is_plain=is_plain)
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
