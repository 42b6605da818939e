"""Which objects a task reads: from a task as the scheduler has it, after fusion, to ranges of objects on S3.

Dask's hints are lost when graphs are optimised, so the task itself is looked at. Tasks that read carry
``data_producer``, which survives fusion; what they read is the first operand of a getter, and where in it the second.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _execute_subgraph
from dask.array.core import getter, getter_inline, getter_nofancy

from appliance.compute.scheduling.zarr_source import ObjectRange, ZarrSource, source_of

if TYPE_CHECKING:
    from dask.typing import Key

Subgraph = Mapping[Any, Any]  # the graph inside of a fused task
GETTERS = frozenset({getter, getter_inline, getter_nofancy, operator.getitem})
DEPTH_MAX = 16  # references between a task and a getter's operand; there are a handful, and more would be a loop


class TaskReads:
    """Finds what tasks read. One instance for each graph: it remembers operands by identity, and keeps them alive.

    Args:
        lookup: returns the node of a key outside of the task (the ``original-…`` arrays), or None.
    """

    def __init__(self, lookup: Callable[[Key], GraphNode | None]):
        self._lookup = lookup
        self._sources: dict[int, tuple[object, ZarrSource | None]] = {}
        self._getters: dict[int, tuple[Subgraph, list[Task]]] = {}
        self._given: dict[int, tuple[Subgraph, object, list[tuple[int, int]] | None]] = {}
        self._outside: dict[Key, GraphNode | None] = {}

    def ranges(self, task: GraphNode | None) -> list[tuple[ZarrSource, ObjectRange]]:
        """Return what a task reads: arrays, and the ranges of objects of each, see ``ZarrSource.ranges``.

        Raises:
            UnknownReadError: the task reads in a way that is not known.
        """
        found = [(source, read) for source, index in self._sources_of(task) for read in source.ranges(index)]
        if len(found) > 1:
            found = list({(source.bucket, read): (source, read) for source, read in found}.values())
        return found

    def sources(self, task: GraphNode | None) -> list[ZarrSource]:
        """Return the arrays on S3 that a task reads from."""
        return [source for source, _ in self._sources_of(task)]

    def reads(self, task: GraphNode | None) -> list[tuple[object, ZarrSource | None, object]]:
        """Return each read of a task: what is read, the array on S3 that this is (None for anything else), the index.

        What is read is a node of the graph where it is only known once the graph runs.
        """
        if not (isinstance(task, Task) and task.data_producer):
            return []
        return [(operand, self._source(operand), index) for operand, index in self._operands(task, {}, DEPTH_MAX)]

    def _sources_of(self, task: GraphNode | None) -> Iterator[tuple[ZarrSource, object]]:
        if isinstance(task, Task) and task.data_producer:
            for operand, index in self._operands(task, {}, DEPTH_MAX):
                source = self._source(operand)
                if source is not None:
                    yield source, index

    def _operands(self, task: Task, names: Mapping[Key, object], depth: int) -> Iterator[tuple[object, object]]:
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

    def _plainly_given(self, inner: Subgraph, inner_names: object) -> list[tuple[int, int]] | None:
        """Return which of a fused task's own operands its getters take, and which as their index.

        So it is for nearly all tasks. None where a getter takes anything else. Dask shares one ``inner`` among all
        tasks of a layer, so this is asked once.
        """
        at = {name: number for number, name in enumerate(_sequence(inner_names)) if name not in inner}
        found = []
        for node in self._readers(inner):
            taken = [at.get(arg.key) if type(arg) is TaskRef else None for arg in node.args[:2]]
            if node.func not in GETTERS or len(taken) < 2 or taken[0] is None or taken[1] is None:
                return None
            found.append((taken[0], taken[1]))
        return found

    def _readers(self, inner: Subgraph) -> list[Task]:
        """Return the nodes of a fused task that may read. Dask shares one ``inner`` among all tasks of a layer."""
        known = self._getters.get(id(inner))
        if known is None:
            nodes = [
                node
                for node in inner.values()
                if isinstance(node, Task) and (node.func in GETTERS or node.func is _execute_subgraph)
            ]
            known = self._getters[id(inner)] = (inner, nodes)
        return known[1]

    def _value(self, node: Any, names: Mapping[Key, object], depth: int) -> object:
        """Return the value behind a node, or the node itself where it is only known once the graph runs."""
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

    def _source(self, operand: object) -> ZarrSource | None:
        known = self._sources.get(id(operand))
        if known is None:
            known = self._sources[id(operand)] = (operand, source_of(operand))
        return known[1]


def _sequence(index: object) -> list[Any]:
    if isinstance(index, DataNode):
        index = index.value
    if isinstance(index, (tuple, list)):
        return list(index)
    return [index]
