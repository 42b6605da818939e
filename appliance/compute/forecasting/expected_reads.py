"""What a graph's tasks will read, as bytes in the store, and which of these reads will be local.

A read is recognised as the scheduler does it (``scheduling.task_reads``), and a task's place is the one that the
scheduler will choose (``scheduling.places``), by the map and the workers of this moment.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dask._task_spec import DataNode, GraphNode

from appliance.compute.forecasting.graph import in_memory, innermost
from appliance.compute.forecasting.stored_sizes import Sizes, sizes_of
from appliance.compute.reading import placement_access
from appliance.compute.scheduling.atlas import Atlas
from appliance.compute.scheduling.places import Objects, Place, PlaceFinder
from appliance.compute.scheduling.task_reads import TaskReads
from appliance.compute.scheduling.zarr_source import ObjectRange, UnknownReadError, ZarrSource
from appliance.placement.errors import PlacementError
from appliance.placement.model.s3_address import S3Address

if TYPE_CHECKING:
    from dask.typing import Key

    from appliance.compute.forecasting.graph import Graph

MAP_PATIENCE = 60.0  # s; nobody's scheduler waits for this answer
INDEX_BYTES = 16  # of each chunk in a shard's index: offset and length (Zarr's sharding codec, version 1.0)
CHECKSUM_BYTES = 4  # behind that index


@dataclass
class ArrayReads:
    """The reads of one stored array.

    Attributes:
        name: where it is.
        source: the array, as the first task that reads it sees it.
        objects: objects, or ranges of files, of which something is read.
        reads: reads of these; more than ``objects`` where several tasks read the same.
        bytes: bytes of these reads.
        used: elements of the array that the tasks take.
        touched: elements of the chunks (not shards) that hold these, counted for each task.
    """

    name: str
    source: ZarrSource
    objects: int = 0
    reads: int = 0
    bytes: float = 0.0
    used: int = 0
    touched: int = 0


@dataclass
class TaskRead:
    """What one task reads: objects or ranges, and their bytes; ``place`` is where the scheduler will want it."""

    parts: Objects
    reads: int = 0
    bytes: float = 0.0
    place: Place | None = None


@dataclass
class Reads:
    """What an analysis reads.

    Attributes:
        tasks: by key, the tasks that read.
        arrays: the stored arrays.
        error: how far off the bytes may be, in parts of them, at 95 %: where sizes are sampled.
        how: how the sizes were found, in words.
        local: number of reads that will be local; None where that is not known.
        why_not_local: why that is not known, in words.
        unknown: what is read, and cannot be followed: sentences.
        holders: number of objects by the address of each host that holds a copy.
    """

    tasks: dict[Key, TaskRead] = field(default_factory=dict)
    arrays: list[ArrayReads] = field(default_factory=list)
    error: float = 0.0
    how: str = ""
    local: int | None = None
    why_not_local: str = ""
    unknown: list[str] = field(default_factory=list)
    holders: Counter[str] = field(default_factory=Counter)

    @property
    def reads(self) -> int:
        """Requests for objects, or for ranges of them."""
        return sum(task.reads for task in self.tasks.values())

    @property
    def bytes(self) -> float:
        """Bytes of all reads, as they come from S3."""
        return sum(task.bytes for task in self.tasks.values())


@dataclass
class _Wanted:
    """One read of an array by one task."""

    key: Key
    source: ZarrSource
    parts: list[ObjectRange]
    used: int
    chunks: int


def reads_of(graph: Graph) -> Reads:
    """Return what a graph reads, without places.

    Raises:
        PermissionError, OSError: S3 does not say how large the objects are.
        ValueError: the environment names no S3.
    """
    found = Reads()
    wanted = _wanted(graph, found)
    if wanted:
        _weigh(wanted, found)
    return found


def place(found: Reads, present: Collection[str]) -> None:
    """Add to tasks their places, and to all the number of reads that will be local.

    Args:
        found: what is read.
        present: addresses of the hosts that have workers.
    """
    try:
        maps = placement_access.maps()
    except (KeyError, PlacementError) as error:
        found.why_not_local = f"there is no placement map here ({error})"
        return
    ranges = None
    with contextlib.suppress(PlacementError, KeyError):
        ranges = placement_access.ranges()
    atlas = Atlas(maps, ranges, timeout=MAP_PATIENCE)
    try:
        finder = PlaceFinder(atlas)
        places = finder.find({key: task.parts for key, task in found.tasks.items()}, present)
    except Exception as error:  # a service that does not answer costs this figure, and no other
        found.why_not_local = f"the placement service gave no map ({error})"
        return
    finally:
        atlas.close()
    local = unplaced = 0
    for key, task in found.tasks.items():
        task.place = placed = places.get(key)
        if placed is None:
            unplaced += task.reads
            continue
        found.holders.update(dict.fromkeys(placed.hosts, task.reads))
        if any(host in present for host in placed.hosts):
            # A task that reads one object twice reads it twice here or twice elsewhere.
            local += round(task.reads * (1 - placed.remote_reads / placed.reads))
    found.local = local
    if unplaced:
        found.unknown.append(f"where {unplaced:,} of the {found.reads:,} reads lie: they are counted as remote")


def _wanted(graph: Graph, found: Reads) -> list[_Wanted]:
    finder = TaskReads(graph.nodes.get)
    wanted: list[_Wanted] = []
    odd: Counter[str] = Counter()
    for key, node in graph.nodes.items():
        for operand, source, index in finder.reads(node):
            if source is None:
                if not isinstance(operand, GraphNode) and not in_memory(operand):
                    odd[type(innermost(operand)).__name__] += 1
                continue
            index = index.value if isinstance(index, DataNode) else index
            try:
                wanted.append(_Wanted(key, source, source.ranges(index), *source.used(index)))
            except (UnknownReadError, TypeError, IndexError, ValueError):
                odd["an index that is known once the analysis runs"] += 1
    for what, count in sorted(odd.items()):
        found.unknown.append(f"what {count:,} tasks read ({what}), which is no Zarr array on S3 that can be followed")
    return wanted


def _weigh(wanted: Iterable[_Wanted], found: Reads) -> None:
    """Find the bytes of all reads, and sum them up by task and by array."""
    arrays: dict[tuple[str, str], ArrayReads] = {}
    by_array: defaultdict[tuple[str, str], list[_Wanted]] = defaultdict(list)
    for one in wanted:
        by_array[one.source.bucket, one.source.prefix].append(one)
    off, hows = 0.0, []
    for name, of_array in by_array.items():
        source = of_array[0].source
        sizes = _sizes(of_array)
        hows.append(sizes.how)
        known = arrays[name] = ArrayReads(_name(source), source)
        known.objects = len({part for one in of_array for part in one.parts})
        for one in of_array:
            nbytes, reads = _cost(one, sizes)
            task = found.tasks.setdefault(one.key, TaskRead([]))
            there = {part for _, part in task.parts}
            task.parts.extend((one.source, part) for part in one.parts if part not in there)
            task.reads += reads
            task.bytes += nbytes
            known.reads += reads
            known.bytes += nbytes
            known.used += one.used
            known.touched += one.chunks * math.prod(source.inner_shape or source.chunk_shape)
        off += sizes.error * known.bytes
    found.arrays = list(arrays.values())
    found.error = off / found.bytes if found.bytes else 0.0
    found.how = "; ".join(dict.fromkeys(hows))


def _name(source: ZarrSource) -> str:
    name = str(S3Address(source.bucket, source.prefix))
    return f"{source.prefix or 'an array'} of files in s3://{source.bucket}" if source.references is not None else name


def _sizes(of_array: list[_Wanted]) -> Sizes:
    source = of_array[0].source
    parts = dict.fromkeys(part for one in of_array for part in one.parts)
    if source.references is None:
        stored = math.prod(math.ceil(n / size) for n, size in zip(source.shape, source.chunk_shape, strict=True))
        return sizes_of(source.bucket, source.prefix, [key for key, _, _ in parts], stored)
    whole = list(dict.fromkeys(key for key, _, length in parts if not length))
    if whole:  # a reference to all of an object says no length
        return sizes_of(source.bucket, "", whole, len(whole))
    return Sizes({}, None, 0.0, "stated by the references")


def _cost(one: _Wanted, sizes: Sizes) -> tuple[float, int]:
    """Return bytes and requests of one read. A chunk that was never written costs neither."""
    source = one.source
    if source.references is not None:
        return float(sum(length or sizes.of(key) for key, _, length in one.parts)), len(one.parts)
    lengths = [sizes.of(key) for key, _, _ in one.parts]
    there = sum(length > 0 for length in lengths)
    per_object = _chunks_per_object(source)
    if per_object == 1 or one.chunks == per_object * len(one.parts) or not there:
        return sum(lengths), there
    # Of a shard that is not read as a whole: its index, and then each chunk. They are taken to be equally large.
    index = INDEX_BYTES * per_object + CHECKSUM_BYTES
    share = one.chunks / (per_object * len(one.parts))
    return sum(index + share * max(0.0, length - index) for length in lengths if length), there * (
        1 + round(share * per_object)
    )


def _chunks_per_object(source: ZarrSource) -> int:
    inner: Mapping[int, int] = dict(enumerate(source.inner_shape))
    return math.prod(size // inner.get(axis, size) for axis, size in enumerate(source.chunk_shape))
