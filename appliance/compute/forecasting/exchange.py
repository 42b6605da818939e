"""Rechunking in which all workers meet (distributed's p2p), as a trial of single tasks can have it.

A block is laid on all workers, a barrier waits until all blocks are, and new blocks are taken from there. None of
these runs alone, so functions of the same inputs and outputs stand in for them: the time of what is joined to them in
one task is seen, and the exchange itself is calculated in the walk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from dask._task_spec import DataNode, GraphNode, Task, _execute_subgraph

from appliance.compute.forecasting.harmless import EXCHANGE, functions, module_of

LAYS, TAKES, MEETS = "lays", "takes", "meets"  # what tasks of an exchange do
NAMES = {"rechunk_transfer": LAYS, "rechunk_unpack": TAKES, "p2p_barrier": MEETS}  # functions, in distributed 2026.8.0
OTHER = "other"  # a part of another exchange, of a table


def part(node: GraphNode) -> str:
    """Return what a task does in an exchange; "" where it is no part of one."""
    found = {
        NAMES.get(function.__name__, OTHER)
        for function in functions(node)
        if module_of(function).startswith(EXCHANGE) and hasattr(function, "__name__")
    }
    return next((name for name in (OTHER, MEETS, LAYS, TAKES) if name in found), "")


def specifications(nodes: Mapping[Any, GraphNode]) -> dict[str, Any]:
    """Return what each exchange of a graph is to do, by its id: its barrier carries it."""
    return {node.spec.id: node.spec for node in nodes.values() if hasattr(node, "spec") and hasattr(node.spec, "new")}


def stood_in(node: Any, specs: Mapping[str, Any]) -> Any:
    """Return a task with functions in place of those that need all workers."""
    if not isinstance(node, Task):
        return node
    if node.func is _execute_subgraph:
        inner, *given = node.args
        inner = inner.value if isinstance(inner, DataNode) else inner
        return Task(node.key, node.func, {key: stood_in(one, specs) for key, one in inner.items()}, *given)
    kind = NAMES.get(getattr(node.func, "__name__", "")) if module_of(node.func).startswith(EXCHANGE) else None
    if kind == LAYS:
        return Task(node.key, lay, node.args[0])
    if kind == MEETS:
        return Task(node.key, meet, *node.args[1:])
    if kind == TAKES:
        exchange, block, barrier = (arg.value if isinstance(arg, DataNode) else arg for arg in node.args)
        shape = tuple(int(sizes[number]) for sizes, number in zip(specs[exchange].new, block, strict=True))
        return Task(node.key, take, shape, barrier)
    return node


def lay(block: np.ndarray) -> str:
    """Stand for what lays a block on all workers. Returns what a block that is taken has to be like: its type."""
    return block.dtype.str


def meet(*types: str) -> str:
    """Stand for the barrier."""
    return types[0]


def take(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Stand for what takes a block. Its values are ones: with none a division would be odd."""
    return np.ones(shape, dtype)
