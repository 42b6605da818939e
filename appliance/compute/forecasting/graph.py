"""The graph of an analysis as the scheduler will have it, and the order in which it will run.

Made with the steps that ``dask.compute`` and the scheduler take: the collections' own optimisation (culling and
fusion), the task that joins a result's chunks, and ``dask.order``. Nothing is sent and nothing runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.compute.scheduling.zarr_source import DEPTH_MAX

if TYPE_CHECKING:
    from dask._task_spec import GraphNode
    from dask.typing import Key


@dataclass(frozen=True)
class Graph:
    """The tasks of an analysis.

    Attributes:
        nodes: the tasks by key.
        order: the place of each task in the scheduler's order; smaller is earlier.
        results: keys whose values go to the notebook.
        chunk_bytes: bytes of tasks' values, of those whose array says its chunks.
        seconds: how long it took to make.
        lazy: variables that are read by the notebook itself, since they are not in Dask chunks.
    """

    nodes: Mapping[Key, GraphNode]
    order: Mapping[Key, int]
    results: frozenset[Key]
    chunk_bytes: Mapping[Key, int]
    seconds: float
    lazy: tuple[tuple[str, Any], ...] = ()
    dependents: Mapping[Key, list[Key]] = field(default_factory=dict)

    def sorted(self) -> list[Key]:
        """Return all keys, each behind those that it depends on."""
        return sorted(self.nodes, key=self.order.__getitem__)


def graph_of(data: Any) -> Graph:
    """Return the graph of what is to be calculated.

    Args:
        data: a Dask collection, an xarray object that holds some, or a list or tuple of these.

    Raises:
        ValueError: nothing of it is calculated by Dask.
    """
    from dask._expr import FinalizeCompute
    from dask._task_spec import convert_legacy_graph
    from dask.base import collections_to_expr, is_dask_collection
    from dask.core import flatten
    from dask.order import order as order_of

    collections: list[Any] = []
    lazy: list[tuple[str, Any]] = []
    for name, held in _held(data):
        if is_dask_collection(held):
            collections.append(held)
        elif not in_memory(held):
            lazy.append((name, held))
    if not collections:
        raise ValueError(
            "nothing of this is calculated by Dask, so there is nothing to tell: give what you would call .compute() "
            "on, opened with chunks (xr.open_zarr does so, xr.open_dataset with chunks={})"
        )
    begun = time.perf_counter()
    make: Any = FinalizeCompute  # none of these has types
    expression: Any = make(collections_to_expr(collections)).optimize()
    nodes = convert_legacy_graph(dict(expression.__dask_graph__()))
    order = order_of(nodes)
    seconds = time.perf_counter() - begun
    dependents: dict[Key, list[Key]] = {key: [] for key in nodes}
    for key, node in nodes.items():
        for needed in node.dependencies:
            dependents[needed].append(key)
    flat: Any = flatten
    results = frozenset(key for key in flat(expression.__dask_keys__()) if key in nodes)
    return Graph(nodes, order, results, _chunk_bytes(collections, nodes), seconds, tuple(lazy), dependents)


def innermost(array: Any) -> Any:
    """Return what is inside of xarray's lazy wrappers around an array."""
    for _ in range(DEPTH_MAX):
        inner = getattr(array, "array", None)
        if inner is None or isinstance(array, np.ndarray):
            break
        array = inner
    return array


def in_memory(array: Any) -> bool:
    """Return whether the values of an array, or of an index, are in this process's memory."""
    inner = innermost(array)
    return isinstance(inner, np.ndarray | np.generic) or type(inner).__module__.split(".")[0] == "pandas"


def _held(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is to be calculated, with names: arrays of xarray objects, and collections as they are."""
    if isinstance(data, (list, tuple, set)):
        for part in data:
            yield from _held(part)
    elif hasattr(type(data), "data_vars"):  # of the type, since Delayed has any attribute
        for name, variable in data.variables.items():
            yield str(name), variable._data
    elif hasattr(type(data), "variable"):
        for name, part in [(data.name or "the array", data), *data.coords.items()]:
            yield str(name), part.variable._data
    else:
        yield "the collection", data


def _chunk_bytes(collections: Iterable[Any], nodes: Mapping[Key, GraphNode]) -> dict[Key, int]:
    """Return the bytes of blocks of arrays that Dask's layers keep the chunks of.

    A fused task has a name of its own; an alias leads to it from the name that the array knows.
    """
    from dask._task_spec import Alias

    known: dict[str, Any] = {}
    for collection in collections:
        layers = getattr(getattr(collection, "dask", None), "layers", {})
        known |= {name: layer.collection_annotations for name, layer in layers.items() if layer.collection_annotations}
    found: dict[Key, int] = {}
    for key, node in nodes.items():
        name, *block = key if isinstance(key, tuple) else (key,)
        says = known.get(name) if isinstance(name, str) else None
        if not says or len(says.get("chunks", ())) != len(block):
            continue
        nbytes = float(says["dtype"].itemsize)
        try:
            for sizes, number in zip(says["chunks"], block, strict=True):
                nbytes *= sizes[number]
        except (IndexError, TypeError):
            continue
        if nbytes == nbytes:  # not a number where a chunk's length is known once it is calculated
            found[node.target if isinstance(node, Alias) else key] = int(nbytes)
    return found
