"""Which functions a trial may call: those that are known to calculate and to do nothing else.

A list of what is known, and not of what is feared: a function that writes may have any name. Dask's own that store
chunks are called ``load_store_chunk``, and a researcher's may be called anything.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

from dask._task_spec import DataNode, GraphNode, NestedContainer, Task, _execute_subgraph

# Packages, or rooms of them, whose functions calculate.
CALCULATE = (
    *("numpy", "scipy", "flox", "numpy_groupies", "numbagg", "bottleneck", "pandas", "sparse", "cftime"),
    *("builtins", "_operator", "operator", "functools", "itertools", "math", "toolz", "tlz", "cytoolz"),
    *("dask.array", "dask._expr", "dask._task_spec", "dask.base", "dask.blockwise", "dask.core", "dask.highlevelgraph"),
    *("dask.layers", "dask.utils", "xarray.core", "xarray.compat", "xarray.computation", "xarray.coding"),
    "appliance.compute.forecasting.exchange",
    *("xarray.groupers", "xarray.namedarray", "xarray.structure", "xarray.ufuncs"),
)
# Words in names of functions of theirs that write, or run what they are given.
WORDS = ("store", "save", "write", "tofile", "load_chunk", "to_npy", "memmap", "dump")
NAMES = ("eval", "exec", "open", "print", "compile", "__import__")
EXCHANGE = "distributed.shuffle"
DEPTH = 6


def refusal(node: GraphNode) -> str:
    """Return why a task is not tried, "" where it may be."""
    for function in functions(node):
        module = module_of(function)
        name = getattr(function, "__qualname__", type(function).__qualname__)
        if _is_of(module, EXCHANGE):
            return "all workers take part in it at once"
        if not any(_is_of(module, known) for known in CALCULATE):
            return f"it calls {module}.{name}, which may do more than calculate"
        if name in NAMES or any(word in name.lower().rpartition("<locals>")[2] for word in WORDS):
            return f"it calls {module}.{name}, which may write"
    return ""


def functions(value: Any, depth: int = DEPTH) -> Iterator[Any]:
    """Yield the functions that a task calls or is given, those of a fused task's parts among them."""
    if not depth:
        yield _too_deep
    elif isinstance(value, Task):
        if not isinstance(value, NestedContainer) and value.func is not _execute_subgraph:
            yield from _inside(value.func, depth)
        for part in (*value.args, *value.kwargs.values()):
            yield from functions(part, depth - 1 if not isinstance(value, NestedContainer) else depth)
    elif isinstance(value, DataNode):
        yield from functions(value.value, depth)
    elif isinstance(value, list | tuple | set | frozenset):
        # Of plain numbers and words there may be many.
        for part in value:
            if not isinstance(part, int | float | str | bytes | slice | None):
                yield from functions(part, depth)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from functions(part, depth)
    elif callable(value) and not isinstance(value, GraphNode):
        yield from _inside(value, depth)


def _inside(function: Any, depth: int) -> Iterator[Any]:
    """Yield a function, and those that it holds: of a partial one, a composition, a closure, or numpy's vectorize."""
    if isinstance(function, functools.partial):
        for part in (function.func, *function.args, *function.keywords.values()):
            yield from functions(part, depth - 1) if callable(part) else ()
        return
    yield function
    if not depth:
        return
    held = [getattr(function, name) for name in ("first", "pyfunc", "__wrapped__") if hasattr(function, name)]
    held += list(getattr(function, "funcs", ()))
    if isinstance(function, types.MethodType):
        held.append(function.__func__)
    for cell in getattr(function, "__closure__", None) or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not set yet
            continue
    for part in held:
        if callable(part) and part is not function:
            yield from functions(part, depth - 1)


def module_of(function: Any) -> str:
    """Return the name of the module that a function is of."""
    if isinstance(function, functools.partial):
        return module_of(function.func)
    if getattr(function, "__module__", None):
        return str(function.__module__)
    owner = getattr(function, "__self__", None)  # of a method that is written in C
    return str(type(owner if owner is not None else function).__module__)


def _is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _too_deep() -> None:
    """Stand for what lies deeper than is looked: of no known package, and so refused."""
