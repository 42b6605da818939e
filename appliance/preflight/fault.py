"""What a check reports: which variable, which value, and the way out."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

TABLE_WIDTH = 140


@dataclasses.dataclass(frozen=True, order=True)
class Fault:
    """One thing that stands between an inventory and a facility.

    ``host`` is the machine concerned, or empty where the fault is the whole site's. ``value`` is shown as it is, so
    it never holds a secret.
    """

    variable: str
    value: str
    fix: str
    host: str = ""


def merge(faults: Iterable[Fault]) -> list[tuple[Fault, list[str]]]:
    """Return each distinct fault once, in order of first sight, with the hosts that have it."""
    hosts: dict[Fault, list[str]] = {}
    for fault in faults:
        hosts.setdefault(dataclasses.replace(fault, host=""), []).append(fault.host)
    return [(fault, sorted({name for name in names if name})) for fault, names in hosts.items()]


def as_table(faults: Sequence[Fault], width: int = TABLE_WIDTH) -> str:
    """Return the faults as a table for people, ``width`` characters wide; one line where there is none."""
    if not faults:
        return "no faults\n"
    merged = merge(faults)
    table = Table(box=box.HORIZONTALS, show_lines=True, expand=True, pad_edge=False)
    table.add_column("variable", ratio=20, overflow="fold")
    table.add_column("value", ratio=36, overflow="fold")
    table.add_column("where", ratio=12, overflow="fold")
    table.add_column("fix", ratio=32, overflow="fold")
    for fault, hosts in merged:
        table.add_row(fault.variable, fault.value, ", ".join(hosts) or "the site", fault.fix)
    target = io.StringIO()
    console = Console(file=target, width=width, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(f"{len(merged)} fault{'s' * (len(merged) != 1)}; nothing was changed.")
    console.print(table)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines()) + "\n"


def as_json(faults: Iterable[Fault]) -> str:
    """Return the faults as one JSON object a line: variable, value, fix, host."""
    return "".join(json.dumps(dataclasses.asdict(fault)) + "\n" for fault in faults)
