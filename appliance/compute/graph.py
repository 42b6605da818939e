"""Which objects a task reads: from a task as the scheduler has it, after fusion, to chunk keys of Zarr arrays.

Dask's hints are lost when graphs are optimised, so the question is asked of the task itself. Tasks that read carry
``data_producer``, which survives fusion; what they read is the first operand of a getter, and where in it the second.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _execute_subgraph
from dask.array.core import getter, getter_inline, getter_nofancy

GETTERS = frozenset({getter, getter_inline, getter_nofancy, operator.getitem})
# A getter's operand is found through a handful of references; more would be a loop.
DEPTH_MAX = 16

Axis = range | int | np.ndarray  # what is read along one axis of the Zarr array
ObjectRange = tuple[str, int, int]  # key, offset and length in bytes


class UnknownReadError(Exception):
    """The task reads in a way that this module does not know: it stays where the stock scheduler puts it."""


@dataclass(frozen=True)
class Source:
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
        own: with references, how the keys of those objects begin that hold one chunk each; "" where there are none.
    """

    bucket: str
    prefix: str
    chunk_shape: tuple[int, ...]
    chunk_bytes: int
    encode: Callable[[tuple[int, ...]], str]
    axes: tuple[Axis, ...]
    references: Callable[[str], ObjectRange | None] | None = None
    own: str = ""

    def is_whole(self, key: str) -> bool:
        """Whether the object is one chunk, and not a file of which a chunk is a part."""
        return self.references is None or (self.own != "" and key.startswith(self.own))

    def ranges(self, index: Any) -> list[ObjectRange]:
        """What ``operand[index]`` reads of which objects, as (key, offset, length in bytes).

        An object of a Zarr array is read whole; its length before compression stands for the one that it has.
        """
        keys = self._chunk_keys(index)
        if self.references is None:
            return [(key, 0, self.chunk_bytes) for key in keys]
        return [found for found in map(self.references, keys) if found is not None]

    def chunks(self) -> list[Sequence[int]]:
        """Coordinates of the chunks that the operand keeps of the stored array, along each of its axes."""
        return [_chunks(axis, size) for axis, size in zip(self.axes, self.chunk_shape, strict=True)]

    def key(self, chunk: tuple[int, ...]) -> str:
        """Key of the chunk with these coordinates, in the bucket or, for a virtual dataset, among its references."""
        return f"{self.prefix}/{self.encode(chunk)}" if self.prefix else self.encode(chunk)

    def _chunk_keys(self, index: Any) -> list[str]:
        """Keys of the chunks, in the bucket or, for a virtual dataset, among its references."""
        chunks = _plain_chunks(self.axes, self.chunk_shape, index)
        if chunks is None:
            chosen = _index(self.axes, index)
            chunks = [_chunks(axis, size) for axis, size in zip(chosen, self.chunk_shape, strict=True)]
        before = f"{self.prefix}/" if self.prefix else ""
        return [before + self.encode(coordinates) for coordinates in itertools.product(*chunks)]


class Reads:
    """Finds the reads of tasks. One instance for each graph: it remembers operands by identity, and holds them.

    Args:
        lookup: gives the node of a key outside of the task (the ``original-…`` arrays), or None.
    """

    def __init__(self, lookup: Callable[[Any], GraphNode | None]):
        self._lookup = lookup
        self._sources: dict[int, tuple[Any, Source | None]] = {}
        self._getters: dict[int, tuple[Any, list[Task]]] = {}
        self._given: dict[int, tuple[Any, Any, list[tuple[int, int]] | None]] = {}
        self._outside: dict[Any, Any] = {}

    def ranges(self, task: Any) -> list[tuple[Source, ObjectRange]]:
        """What ``task`` reads: the arrays, and of which objects (key, offset, length), see ``Source.ranges``."""
        found = [(source, read) for source, index in self._sources_of(task) for read in source.ranges(index)]
        if len(found) > 1:
            found = list({(source.bucket, read): (source, read) for source, read in found}.values())
        return found

    def sources(self, task: Any) -> list[Source]:
        """The arrays on S3 that ``task`` reads from."""
        return [source for source, _ in self._sources_of(task)]

    def _sources_of(self, task: Any) -> Iterator[tuple[Source, Any]]:
        if isinstance(task, Task) and task.data_producer:
            for operand, index in self._operands(task, {}, DEPTH_MAX):
                source = self._source(operand)
                if source is not None:
                    yield source, index

    def _operands(self, task: Task, names: Mapping[Any, Any], depth: int) -> Iterator[tuple[Any, Any]]:
        if task.func in GETTERS:
            if len(task.args) >= 2:
                yield self._value(task.args[0], names, depth), self._value(task.args[1], names, depth)
        elif task.func is _execute_subgraph and depth:
            inner, _, inner_names, *given = task.args
            inner = inner.value if isinstance(inner, DataNode) else inner
            if not isinstance(inner, Mapping):
                return
            known = self._given.get(id(inner))
            if known is None or known[1] != inner_names:
                known = self._given[id(inner)] = (inner, inner_names, self._plainly_given(inner, inner_names))
            if known[2] is not None:
                for operand, index in known[2]:
                    yield self._value(given[operand], names, depth), self._value(given[index], names, depth)
                return
            scope = dict(inner)
            for name, node in zip(_sequence(inner_names), given, strict=True):
                scope[name] = self._value(node, names, depth)
            for node in self._readers(inner):
                yield from self._operands(node, scope, depth - 1)

    def _plainly_given(self, inner: Mapping[Any, Any], inner_names: Any) -> list[tuple[int, int]] | None:
        """Which of a fused task's own operands its getters take, and which as their index: so it is for nearly all.

        None where a getter takes anything else. Dask shares one ``inner`` among all tasks of a layer: asked once.
        """
        at = {name: number for number, name in enumerate(_sequence(inner_names)) if name not in inner}
        found = []
        for node in self._readers(inner):
            taken = [at.get(arg.key) if type(arg) is TaskRef else None for arg in node.args[:2]]
            if node.func not in GETTERS or len(taken) < 2 or taken[0] is None or taken[1] is None:
                return None
            found.append((taken[0], taken[1]))
        return found

    def _readers(self, inner: Mapping[Any, Any]) -> list[Task]:
        """The nodes of a fused task that may read. Dask shares one ``inner`` among all tasks of a layer."""
        known = self._getters.get(id(inner))
        if known is None:
            nodes = [
                node
                for node in inner.values()
                if isinstance(node, Task) and (node.func in GETTERS or node.func is _execute_subgraph)
            ]
            known = self._getters[id(inner)] = (inner, nodes)
        return known[1]

    def _value(self, node: Any, names: Mapping[Any, Any], depth: int) -> Any:
        """The value behind a node, or the node itself where it is only known once the graph runs."""
        for _ in range(depth):
            kind = type(node)
            if kind is TaskRef:
                key = node.key
            elif kind is DataNode:
                return node.value
            elif kind is Alias:
                key = node.target
            else:
                return node
            target = names.get(key)
            if target is None:
                # The arrays that all tasks of a layer refer to are few, and asked for by each of them.
                target = self._outside.get(key)
                if target is None:
                    target = self._outside[key] = self._lookup(key)
            if target is None:
                return node
            node = target
        return node

    def _source(self, operand: Any) -> Source | None:
        known = self._sources.get(id(operand))
        if known is None:
            known = self._sources[id(operand)] = (operand, source_of(operand))
        return known[1]


def source_of(operand: Any) -> Source | None:
    """The Zarr array on S3 behind an operand, through xarray's lazy wrappers; None for everything else."""
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
    return Source(
        bucket=place[0],
        prefix=place[1],
        chunk_shape=tuple(chunk_shape),
        chunk_bytes=math.prod(chunk_shape) * array.dtype.itemsize,
        encode=array.metadata.encode_chunk_key,
        axes=axes,
        references=references,
        own=own,
    )


def _virtual(store_path: Any) -> tuple[str, Callable[[str], ObjectRange | None] | None, str]:
    """Bucket and references of an array of a virtual dataset, and ``Source.own``.

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
    bucket = next((url[5:].partition("/")[0] for url in urls if url.startswith("s3://")), "")
    before = f"s3://{bucket}/"

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
    """Bucket and prefix of a Zarr store on S3 (zarr's FsspecStore, or its ObjectStore on obstore's S3Store)."""
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
    """The chunks of an index of slices only, one for each axis: nearly all there are. None where it is another."""
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
    """Which chunks of ``size`` elements a selection along one axis touches."""
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
    if isinstance(index, DataNode):
        index = index.value
    if isinstance(index, (tuple, list)):
        return list(index)
    return [index]
