"""Which chunks an array has, where each of them lies, and which of them a picture shows."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.compute.reading import placement_access
from appliance.compute.reporting.chunk_picture import Cells, ChunkMap, Coordinates, HostChunks, Hosts
from appliance.compute.scheduling.task_reads import TaskReads
from appliance.compute.scheduling.zarr_source import UnknownReadError, ZarrSource, source_of
from appliance.placement.model.rados_names import in_parts
from appliance.placement.model.s3_address import S3Address

if TYPE_CHECKING:
    from distributed import Client

    from appliance.placement import PlacementMap

COLUMNS, ROWS = 64, 48  # cells of a picture at most: some 300 KB of SVG
BATCH = 2**16  # chunks placed at a time


@dataclass(frozen=True)
class _Grid:
    """The chunks of a source that an array keeps: their coordinates along each axis, and how they are placed."""

    source: ZarrSource
    along: list[Sequence[int]]
    places: Callable[[list[Coordinates]], list[tuple[Hosts | None, int]]]  # hosts and bytes, None for an absent chunk

    def coordinates(self) -> Iterator[list[Coordinates]]:
        """Yield the coordinates of all chunks, some at a time."""
        every = itertools.product(*self.along)
        while batch := list(itertools.islice(every, BATCH)):
            yield batch


def chunk_map(data: Any, client: Client | None = None) -> ChunkMap:
    """Return the chunks of a variable and their hosts, see ``appliance.compute.chunk_map``."""
    name, dims, source = _stored(data)
    try:
        placement = placement_access.maps().get(source.bucket)
    except KeyError as error:
        raise ValueError(
            "APPLIANCE_PLACEMENT_URL is not set, so nobody says where chunks lie: run this on the facility's machines"
        ) from error
    grid = _Grid(source, source.chunks(), _placing(source, placement))
    primaries: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    held: Counter[str] = Counter()
    unknown = absent = 0
    for batch in grid.coordinates():
        for (hosts, size), n in Counter(grid.places(batch)).items():
            if hosts:
                primaries[hosts[0]] += n
                nbytes[hosts[0]] += n * size
                held.update(dict.fromkeys(hosts, n))
            elif hosts is None:
                absent += n
            else:
                unknown += n
    workers = _workers(client, placement)
    known = sorted({*placement.addresses, *held})
    cells, caption = _drawn(grid, dims)
    return ChunkMap(
        name=f"{name} in {_address(source)}",
        hosts=tuple(
            HostChunks(host, primaries[host], nbytes[host], held[host], None if workers is None else workers[host])
            for host in known
        ),
        unknown=unknown,
        absent=absent,
        epoch=placement.epoch,
        cells=cells,
        caption=caption,
    )


# What is drawn


def _drawn(grid: _Grid, dims: Sequence[str]) -> tuple[Cells, str]:
    """Return the rows of cells, and a sentence on what they are."""
    shape = [len(there) for there in grid.along]
    total = math.prod(shape)
    names = list(dims) if len(dims) == len(shape) else [f"axis {number}" for number in range(len(shape))]
    wide = sorted(range(len(shape)), key=lambda axis: -shape[axis])[:2]
    first = [there[:1] for there in grid.along]
    if sum(size > 1 for size in shape) < 2:  # a line of chunks, broken as text is
        step = max(1, math.ceil(total / (COLUMNS * ROWS)))
        along = list(itertools.product(*(there[::step] if len(there) > 1 else there for there in grid.along)))
        width = min(COLUMNS, math.ceil(math.sqrt(4 * len(along))))  # four times as wide as high, where there is room
        rows = [along[start : start + width] for start in range(0, len(along), width)]
        long = names[max(range(len(shape)), key=lambda axis: shape[axis])] if shape else "the array"
        caption = f"{total:,} chunks along {long}, row by row"
    else:
        right, down = wide  # a page is wider than high
        steps = {down: math.ceil(shape[down] / ROWS), right: math.ceil(shape[right] / COLUMNS)}
        step = max(steps.values())
        rows = []
        for one in grid.along[down][:: steps[down]]:
            kept = list(first)
            kept[down], kept[right] = (one,), grid.along[right][:: steps[right]]
            rows.append(list(itertools.product(*kept)))
        caption = f"{names[down]} downward ({shape[down]:,} chunks), {names[right]} to the right ({shape[right]:,})"
        others = [f"{names[axis]} ({n:,})" for axis, n in enumerate(shape) if n > 1 and axis not in wide]
        if others:
            caption += f"; of {', '.join(others)} the first chunk only"
    if step > 1:
        caption += "; a cell is the first of several chunks, as there are more than fit"
    placed = iter(grid.places(list(itertools.chain(*rows))))
    return tuple(tuple((place, next(placed)[0]) for place in row) for row in rows), caption


# Which array


def _stored(data: Any) -> tuple[str, Sequence[str], ZarrSource]:
    """Return name, dimensions and stored array of a variable; raises ValueError with the way out."""
    if hasattr(data, "data_vars"):
        names = list(data.data_vars)
        if len(names) != 1:
            known = ", ".join(map(repr, names)) or "none"
            raise ValueError(f"a picture is of one variable, and the dataset has {known}: chunk_map(ds[NAME])")
        data = data[names[0]]
    variable = getattr(data, "variable", None)
    held = getattr(variable, "_data", data)  # .data or .values would read it
    name = str(getattr(data, "name", None) or "the array")
    dims = [str(dim) for dim in getattr(data, "dims", ())]
    found: dict[int, ZarrSource] = {}
    if hasattr(held, "__dask_graph__") and hasattr(held, "numblocks"):
        found = {id(source): source for source in _sources(held)}
    elif (source := source_of(held)) is not None:
        found = {id(source): source}
    elif isinstance(getattr(held, "nbytes", None), int) and not hasattr(held, "array"):
        raise ValueError(f"{name!r} is in memory: give the variable as it was opened, xr.open_zarr('s3://…')[NAME]")
    if not found:
        raise ValueError(
            f"{name!r} does not come from a Zarr array in S3 (or its selection is of single points, which cannot be "
            "followed): give the variable as it was opened, xr.open_zarr('s3://…')[NAME]"
        )
    if len({(source.bucket, source.prefix) for source in found.values()}) > 1:
        stored = ", ".join(sorted({_address(source) for source in found.values()}))
        raise ValueError(f"{name!r} is calculated from several arrays ({stored}): give one of them")
    return name, dims, next(iter(found.values()))


def _address(source: ZarrSource) -> str:
    if source.references is not None:
        return f"a virtual dataset of files in {S3Address(source.bucket)}"
    return str(S3Address(source.bucket, source.prefix))


def _sources(array: Any) -> Iterable[ZarrSource]:
    """Return the stored arrays behind one chunk of a Dask array."""
    from dask._task_spec import convert_legacy_graph

    key = (array.name, *(0 for _ in array.numblocks))
    tasks = convert_legacy_graph(dict(array.__dask_graph__().cull({key})))
    finder = TaskReads(tasks.get)
    for task in tasks.values():
        with contextlib.suppress(UnknownReadError):
            yield from finder.sources(task)


# Where chunks lie


def _placing(
    source: ZarrSource, placement: PlacementMap
) -> Callable[[list[Coordinates]], list[tuple[Hosts | None, int]]]:
    references, size = source.references, source.chunk_bytes

    def by_name(chunks: list[Coordinates]) -> list[tuple[Hosts | None, int]]:
        return [(hosts, size) for hosts in placement.hosts(source.bucket, [source.key(chunk) for chunk in chunks])]

    def by_range(chunks: list[Coordinates]) -> list[tuple[Hosts | None, int]]:
        keys = [source.key(chunk) for chunk in chunks]
        wanted = [(key, 0, size) for key in keys] if references is None else [references(key) for key in keys]
        there = [one for one in wanted if one is not None]
        held = iter(placement_access.ranges().hosts_of_ranges(source.bucket, there))
        return [(None, 0) if one is None else (tuple(host for host, _ in next(held)), one[2]) for one in wanted]

    return by_range if references is not None or in_parts(size, "", placement.chunk_bytes) else by_name


def _workers(client: Client | None, placement: PlacementMap) -> Counter[str] | None:
    """Return the number of workers of a cluster by host; None without a cluster."""
    if client is None:
        from distributed import default_client

        try:
            client = default_client()
        except ValueError:
            return None
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    names = {address: host for host, address in placement.addresses.items()}
    return Counter(names.get(worker["host"], worker["host"]) for worker in known)
