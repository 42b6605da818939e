"""Tasks of a kind: those that do the same with inputs of the same kinds, of which one stands for all.

Two tasks are of one kind if they call the same functions with arguments of the same shapes, on inputs of the same
kinds. So a graph of a hundred thousand tasks has a few dozen kinds, and to try one task of each says what all need.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _execute_subgraph
from dask.utils import key_split

from appliance.compute.forecasting.exchange import part, specifications, stood_in
from appliance.compute.forecasting.harmless import functions, refusal

if TYPE_CHECKING:
    from dask.typing import Key

    from appliance.compute.forecasting.expected_reads import TaskRead
    from appliance.compute.forecasting.graph import Graph

ITEMS = 8  # of a list of arguments, so many are looked at
DEPTH = 6
VARIANTS = 16  # kinds that differ in nothing but numbers; where there are more, numbers do not tell kinds apart


@dataclass
class Kind:
    """Tasks that are alike.

    Attributes:
        number: which kind it is.
        name: Dask's name of such tasks.
        node: one of them.
        key: its key.
        needs: the kinds of its inputs, by their keys; without those of ``given``.
        given: inputs that are data of the graph itself, by their keys: one task's index fits no other's array.
        tasks: how many there are.
        is_reading: whether they read from S3.
        candidates: some of their keys, of those that read.
        refused: why none of them is tried; "" where one may be.
        part: what they do in a rechunk in which all workers meet, see ``exchange.part``; "" for all others.
    """

    number: int
    name: str
    node: GraphNode
    key: Key
    needs: Mapping[Key, int]
    given: Mapping[Key, GraphNode] = field(default_factory=dict)
    tasks: int = 0
    is_reading: bool = False
    candidates: list[Key] = field(default_factory=list)
    refused: str = ""
    part: str = ""


@dataclass(frozen=True)
class Kinds:
    """The kinds of a graph, each behind those of its inputs, and which kind each task is of."""

    kinds: list[Kind]
    of: Mapping[Key, int]


def kinds_of(graph: Graph, reads: Mapping[Key, TaskRead], candidates: int = 64) -> Kinds:
    """Sort a graph's tasks into kinds.

    Args:
        graph: the graph.
        reads: what each of the tasks that read will read.
        candidates: of tasks that read, so many of a kind are remembered, spread over all of them.
    """
    numbers: dict[Hashable, int] = {}
    kinds: list[Kind] = []
    of: dict[Key, int] = {}
    layers: dict[int, tuple[object, Hashable]] = {}
    variants: Counter[Hashable] = Counter()
    specs = specifications(graph.nodes)
    for key in graph.sorted():
        node = graph.nodes[key]
        if role := part(node) if specs else "":
            node = stood_in(node, specs)
        needs = {needed: of[needed] for needed in node.dependencies}
        reading = reads.get(key)
        work: Hashable = (
            _work_sign(node, layers),
            frozenset(Counter(needs.values()).items()),
            role,
            None if reading is None else (reading.reads, len(reading.parts)),
            key_split(key) if node.data_producer else "",
        )
        sign: Hashable = (work, _sign(node, variants[work] < VARIANTS))
        number = numbers.setdefault(sign, len(kinds))
        if number == len(kinds):
            given = {needed: graph.nodes[needed] for needed in needs if isinstance(graph.nodes[needed], DataNode)}
            open_needs = {needed: kind for needed, kind in needs.items() if needed not in given}
            made = Kind(number, key_split(key), node, key, open_needs, given, is_reading=reading is not None)
            made.part = role
            made.refused = refusal(node)
            if not made.refused and any(kinds[needed].refused for needed in needs.values()):
                made.refused = "what it needs was not tried"
            kinds.append(made)
            variants[work] += 1
        kind = kinds[number]
        kind.tasks += 1
        if reading is not None:
            kind.candidates.append(key)
        of[key] = number
    for kind in kinds:
        step = max(1, len(kind.candidates) // candidates)
        kind.candidates = kind.candidates[::step][:candidates]
    return Kinds(kinds, of)


def _work_sign(node: GraphNode, known: dict[int, tuple[object, Hashable]]) -> Hashable:
    """Return what tells a task's functions from others. Dask shares a fused graph among the tasks of a layer."""
    inner = _inner(node)
    if inner is None:
        return tuple(map(_function_sign, functions(node)))
    seen = known.get(id(inner))
    if seen is None:
        # Not only functions: where tasks were fused one by one, arguments stand in the fused graph too.
        parts = tuple(_sign(part, exact=True) for part in inner.values() if not isinstance(part, TaskRef | Alias))
        seen = known[id(inner)] = (inner, (tuple(map(_function_sign, functions(node))), parts))
    return seen[1]


def _inner(node: object) -> Mapping[Any, Any] | None:
    if isinstance(node, Task) and node.func is _execute_subgraph:
        inner = node.args[0]
        inner = inner.value if isinstance(inner, DataNode) else inner
        return inner if isinstance(inner, Mapping) else None
    return None


def _function_sign(function: Any) -> Hashable:
    if isinstance(function, functools.partial):
        return ("partial", _sign(function.args, exact=True), _sign(function.keywords, exact=True))
    name = getattr(function, "__qualname__", type(function).__qualname__)
    # Those made by closures share a name, and each has a code of its own only with its values.
    return (getattr(function, "__module__", ""), name, id(function) if "<l" in name else 0)


def _sign(value: Any, exact: bool, depth: int = DEPTH) -> Hashable:
    """Return what of an argument tells how much work it makes: shapes and lengths, types, and small words."""
    if not depth:
        return "…"
    if isinstance(value, DataNode):
        return _sign(value.value, exact, depth - 1)
    if isinstance(value, TaskRef | Alias):
        return "input"
    if isinstance(value, Task):
        if value.func is _execute_subgraph:
            # What it does is told by its functions; of what it is given, by the arguments.
            return tuple(_sign(part, exact, depth - 1) for part in _few(value.args[3:]))
        named = tuple(
            (name, _sign(part, exact, depth - 1)) for name, part in value.kwargs.items() if name != "constructor"
        )
        return (tuple(_sign(part, exact, depth - 1) for part in _few(value.args)), len(value.args), named)
    if isinstance(value, slice):
        return _slice_sign(value)
    if isinstance(value, np.ndarray):
        return ("array", value.shape, value.dtype.str)
    if isinstance(value, bool | str | type(None)):
        return value
    if exact and isinstance(value, int):  # which part of several, or a length: one cannot see which
        return value
    if isinstance(value, int | float | complex | np.generic):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return (len(value), tuple(_sign(part, exact, depth - 1) for part in _few(value)))
    if isinstance(value, Mapping):
        return (len(value), tuple(_sign(part, exact, depth - 1) for part in _few(list(value.values()))))
    shape = getattr(value, "shape", None)
    return (type(value).__name__, tuple(shape) if isinstance(shape, tuple) else None)


def _few(values: Any) -> Any:
    return values if len(values) <= ITEMS else (*values[: ITEMS - 1], values[-1])


def _slice_sign(value: slice) -> Hashable:
    if isinstance(value.start, int | None) and isinstance(value.stop, int):
        return ("slice", value.stop - (value.start or 0), value.step)
    # Up to the end: how long that is, the start and the input's shape tell.
    ends = tuple(end if isinstance(end, int) else type(end).__name__ for end in (value.start, value.stop))
    return ("slice", *ends, value.step)
