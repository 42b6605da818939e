"""Zarr arrays on S3, as the operands of a Dask graph see them: which objects an index of one reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from appliance.placement.model.s3_address import S3Address

DEPTH_MAX = 16  # lazy wrappers around an array; there are a handful, and more would be a loop

Axis = range | int | np.ndarray  # what is read along one axis of the Zarr array
ObjectRange = tuple[str, int, int]  # key, offset and length in bytes


class UnknownReadError(Exception):
    """The task reads in a way that this module does not know: it stays where the stock scheduler puts it."""


@dataclass(frozen=True)
class ZarrSource:
    """A Zarr array on S3, as one operand of a graph sees it.

    Attributes:
        bucket: the bucket's name.
        prefix: the array's own prefix in the bucket, without a slash at the end.
        chunk_shape: elements along each axis of one stored object (the shard, where the array is sharded).
        chunk_bytes: bytes of one such object before compression.
        encode: chunk coordinates to the key below ``prefix``.
        axes: what the lazily indexed operand keeps of each axis of the stored array.
        references: for a virtual dataset, chunk key to the (key, offset, length) where the chunk lies in another
            object of ``bucket``, or None where it lies in none; None for a Zarr array with objects of its own.
        own: with references, the prefix of the keys of objects that hold one chunk each; "" where there are none.
        shape: elements along each axis of the stored array.
        inner_shape: likewise of one chunk; the same as ``chunk_shape`` where the array is not sharded.
    """

    bucket: str
    prefix: str
    chunk_shape: tuple[int, ...]
    chunk_bytes: int
    encode: Callable[[tuple[int, ...]], str]
    axes: tuple[Axis, ...]
    references: Callable[[str], ObjectRange | None] | None = None
    own: str = ""
    shape: tuple[int, ...] = ()
    inner_shape: tuple[int, ...] = ()

    def is_one_chunk(self, key: str) -> bool:
        """Return whether an object is one chunk, and not a file of which a chunk is a part."""
        return self.references is None or (self.own != "" and key.startswith(self.own))

    def ranges(self, index: Any) -> list[ObjectRange]:
        """Return the ranges of objects that ``operand[index]`` reads.

        An object of a Zarr array is read completely. Its length before compression stands for the length that it has.

        Raises:
            UnknownReadError: the index is of a kind that this module does not know.
        """
        keys = self._chunk_keys(index)
        if self.references is None:
            return [(key, 0, self.chunk_bytes) for key in keys]
        return [found for found in map(self.references, keys) if found is not None]

    def used(self, index: Any) -> tuple[int, int]:
        """Return how many elements ``operand[index]`` takes, and how many chunks it touches (not shards).

        Raises:
            UnknownReadError: as ``ranges``.
        """
        axes = _index(self.axes, index)
        sizes = self.inner_shape or self.chunk_shape
        elements = math.prod(1 if isinstance(axis, int) else len(axis) for axis in axes)
        return elements, math.prod(len(_chunks(axis, size)) for axis, size in zip(axes, sizes, strict=True))

    def chunks(self) -> list[Sequence[int]]:
        """Return the coordinates of the chunks that the operand keeps of the stored array, along each axis."""
        return [_chunks(axis, size) for axis, size in zip(self.axes, self.chunk_shape, strict=True)]

    def key(self, chunk: tuple[int, ...]) -> str:
        """Return the key of the chunk with these coordinates, in the bucket or among the references."""
        return f"{self.prefix}/{self.encode(chunk)}" if self.prefix else self.encode(chunk)

    def _chunk_keys(self, index: Any) -> list[str]:
        """Return the keys of the chunks of an index, in the bucket or among the references."""
        chunks = _plain_chunks(self.axes, self.chunk_shape, index)
        if chunks is None:
            chosen = _index(self.axes, index)
            chunks = [_chunks(axis, size) for axis, size in zip(chosen, self.chunk_shape, strict=True)]
        before = f"{self.prefix}/" if self.prefix else ""
        return [before + self.encode(coordinates) for coordinates in itertools.product(*chunks)]


def source_of(operand: Any) -> ZarrSource | None:
    """Return the Zarr array on S3 behind an operand, through xarray's lazy wrappers; None for everything else."""
    wrappers = []
    array = operand
    for _ in range(DEPTH_MAX):
        if hasattr(array, "store_path") and hasattr(array, "metadata"):
            break
        wrappers.append(array)
        array = getattr(array, "array", None) if hasattr(array, "array") else getattr(array, "_array", None)
        if array is None:
            return None
    else:
        return None
    references, own = None, ""
    place = _place(array.store_path)
    if place is None:
        bucket, references, own = _virtual(array.store_path)
        if references is None:
            return None
        place = (bucket, str(array.store_path.path).strip("/"))
    chunk_shape = getattr(array, "shards", None) or getattr(array, "chunks", None)
    if chunk_shape is None or not all(isinstance(size, int) and size > 0 for size in chunk_shape):
        return None
    try:
        axes = _through(wrappers, array.shape)
    except UnknownReadError:
        return None
    return ZarrSource(
        bucket=place[0],
        prefix=place[1],
        chunk_shape=tuple(chunk_shape),
        chunk_bytes=math.prod(chunk_shape) * array.dtype.itemsize,
        encode=array.metadata.encode_chunk_key,
        axes=axes,
        references=references,
        own=own,
        shape=tuple(array.shape),
        inner_shape=tuple(getattr(array, "chunks", None) or chunk_shape),
    )


def _virtual(store_path: Any) -> tuple[str, Callable[[str], ObjectRange | None] | None, str]:
    """Return bucket and references of an array of a virtual dataset, and ``ZarrSource.own``.

    They are those of fsspec's ReferenceFileSystem over kerchunk's references, or of ``appliance.data.snapshots``. A
    reference is [url, offset, length], or [url] for a whole object; what is no list is the value itself (kerchunk's
    specification, version 1). The bucket is that of the array's first chunk: chunks in others are not placed.
    """
    path = str(store_path.path).strip("/")
    of_array = getattr(store_path.store, "references_of", None)
    references = of_array(path) if of_array else getattr(getattr(store_path.store, "fs", None), "references", None)
    if not isinstance(references, Mapping):
        return "", None, ""
    prefix = f"{path}/".lstrip("/")
    # All arrays' references are in one mapping; an array's are together, behind those of its metadata.
    urls = (_reference(references, key)[0] for key in references if key.startswith(prefix))
    bucket = next((address.bucket for url in urls if (address := S3Address.find(url)) is not None), "")
    before = f"{S3Address(bucket)}/"

    def find(chunk_key: str) -> ObjectRange | None:
        url, offset, length = _reference(references, chunk_key)
        return (url[len(before) :], offset, length) if url.startswith(before) else None

    own = getattr(references, "own", "")
    return bucket, find if bucket else None, own[len(before) :] if own.startswith(before) else ""


def _reference(references: Mapping[str, Any], key: str) -> tuple[str, int, int]:
    found = references.get(key)
    if not isinstance(found, (list, tuple)) or not found or not found[0]:
        return "", 0, 0
    return (found[0], *found[1:3]) if len(found) >= 3 else (found[0], 0, 0)


def _place(store_path: Any) -> tuple[str, str] | None:
    """Return bucket and prefix of a Zarr store on S3 (zarr's FsspecStore, or its ObjectStore on obstore's S3Store)."""
    store = store_path.store
    inside = str(store_path.path).strip("/")
    filesystem = getattr(store, "fs", None)
    if filesystem is not None:
        protocol = getattr(filesystem, "protocol", ())
        if "s3" not in ((protocol,) if isinstance(protocol, str) else protocol):
            return None
        bucket, _, prefix = str(store.path).strip("/").partition("/")
    else:
        inner = getattr(store, "store", None)
        config = getattr(inner, "config", None)
        bucket = (config or {}).get("bucket", "") if type(inner).__name__ == "S3Store" else ""
        prefix = str(getattr(inner, "prefix", None) or "").strip("/")
    if not bucket:
        return None
    return bucket, "/".join(part for part in (prefix, inside) if part)


def _through(wrappers: Sequence[Any], shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """Compose the indexing of xarray's wrappers, the outermost first, into one selection of the array's axes."""
    axes: tuple[Axis, ...] = tuple(range(size) for size in shape)
    for wrapper in reversed(wrappers):
        kind = type(wrapper).__name__
        if "Vectorized" in kind:
            raise UnknownReadError(kind)
        if hasattr(wrapper, "key"):
            axes = _index(axes, wrapper.key.tuple)
    return axes


def _index(axes: tuple[Axis, ...], index: Any) -> tuple[Axis, ...]:
    """Apply numpy's basic and orthogonal indexing to what is kept of each axis."""
    items = [item for item in _sequence(index) if item is not None]
    live = sum(not isinstance(axis, int) for axis in axes)
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        items[at : at + 1] = [slice(None)] * (live - len(items) + 1)
    # A wrapper may hide trailing axes (characters joined to strings): all of those are read.
    given = iter(items + [slice(None)] * (live - len(items)))
    if len(items) > live:
        raise UnknownReadError(f"{len(items)} indices for {live} axes")
    return tuple(axis if isinstance(axis, int) else _pick(axis, next(given)) for axis in axes)


def _pick(axis: range | np.ndarray, item: Any) -> Axis:
    if isinstance(item, slice):
        return axis[item]
    if isinstance(item, (int, np.integer)):
        return int(axis[int(item)])
    picked = np.asarray(item)
    if picked.ndim != 1 or picked.dtype.kind not in "iub":
        raise UnknownReadError(f"an index of type {type(item).__name__}")
    kept: np.ndarray = np.asarray(axis)[picked]
    return kept


def _plain_chunks(axes: tuple[Axis, ...], sizes: tuple[int, ...], index: Any) -> list[Sequence[int]] | None:
    """Return the chunks of an index of slices only, as nearly all are, along each axis. None for another index."""
    if type(index) is not tuple or len(index) != len(axes):
        return None
    chunks: list[Sequence[int]] = []
    for axis, size, item in zip(axes, sizes, index, strict=True):
        if type(item) is not slice or type(axis) is not range:
            return None
        kept = axis[item]
        if not 0 < kept.step <= size or not kept:
            return None
        first, last = kept[0] // size, kept[-1] // size
        chunks.append((first,) if first == last else range(first, last + 1))
    return chunks


def _chunks(axis: Axis, size: int) -> Sequence[int]:
    """Return which chunks of ``size`` elements a selection along one axis touches."""
    if isinstance(axis, int):
        return (axis // size,)
    if len(axis) == 0:
        return ()
    if isinstance(axis, range) and abs(axis.step) <= size:
        first, last = sorted((axis[0] // size, axis[-1] // size))
        return range(first, last + 1)
    chunks: list[int] = np.unique(np.asarray(axis) // size).tolist()
    return chunks


def _sequence(index: Any) -> list[Any]:
    return list(index) if isinstance(index, (tuple, list)) else [index]
