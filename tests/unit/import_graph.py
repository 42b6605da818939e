"""Who imports whom in the package, read from its source: nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "appliance"

Graph = Mapping[str, Iterable[str]]


def name_of(path: Path, package: Path = PACKAGE) -> str:
    """Return a module's name without the package's: ``placement.model.rjenkins``, or ``placement`` for its own file.

    The package's own file is called ``__init__``.
    """
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def import_graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Return for each module the package's modules that it imports, at its top, in functions, or for types alone.

    A module's parents are not counted: Python runs them first, whatever the module says.
    """
    files = {name_of(path, package): path for path in package.rglob("*.py")}

    def module(dotted: str) -> str | None:
        top, _, rest = dotted.partition(".")
        name = rest or "__init__"
        return name if top == package.name and name in files else None

    graph = {}
    for name, path in files.items():
        found: set[str | None] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(module(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: `from .` hides what is imported"
                source = str(node.module)
                found.update(module(f"{source}.{alias.name}") or module(source) for alias in node.names)
        graph[name] = {other for other in found if other is not None and other != name}
    return graph


@cache
def imports() -> dict[str, set[str]]:
    """Return the graph of the package itself."""
    return import_graph()


def find_circle(graph: Graph) -> list[str]:
    """Return the modules of a circle in their order, the first once more at the end; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, chain: list[str]) -> list[str]:
        if name in chain:
            return [*chain[chain.index(name) :], name]
        if name in done:
            return []
        for imported in sorted(graph.get(name, ())):
            found = visit(imported, [*chain, name])
            if found:
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        circle = visit(name, [])
        if circle:
            return circle
    return []


def room_of(module: str, rooms: Iterable[str]) -> str:
    """Return the most exact of the rooms that a module is in, or an empty text."""
    return max((room for room in rooms if f"{module}.".startswith(f"{room}.")), key=len, default="")


def forbidden_imports(graph: Graph, may_import: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the imports that a table of rooms does not allow, each as ``who -> whom``.

    ``may_import`` has for each room the others that its modules may import. A module is of the most exact room that
    its name begins with, so ``placement`` is what is left of it beside ``placement.model`` and the others.
    """
    rooms = {module: room_of(module, may_import) for module in graph}
    return [
        f"{module} -> {other}"
        for module, imported in sorted(graph.items())
        for other in sorted(imported)
        if rooms[other] != rooms[module] and rooms[other] not in may_import[rooms[module]]
    ]
