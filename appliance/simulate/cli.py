"""``appliance simulate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from appliance.simulate import engine
from appliance.simulate.engine import TASKS_MAX, Run
from appliance.simulate.model import Cell, Result

COLUMNS = (
    *("hosts", "replicas", "slots", "objects a task", "chunks", "tasks run", "place us", "decide us", "balance"),
    *("local", "best", "wire", "wire, blind", "idle"),
)


def _numbers(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Whole numbers with commas between them; 1e8 is one."""
    if value is None:
        return None
    numbers = []
    for part in value.split(","):
        try:
            number = float(part)
        except ValueError:
            number = 0.5
        if not number.is_integer() or number < 1:
            raise click.BadParameter(
                f"{part!r} is no whole number of 1 or more; give numbers with commas between them, such as 10,100"
            )
        numbers.append(int(number))
    return tuple(numbers)


def _several(name: str, default: str | None, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        name, metavar="N[,N…]", callback=_numbers, default=default, show_default=default is not None, help=text
    )


@dataclass(frozen=True)
class Streamed:
    """What placing many chunks one after the other took, and gave.

    ``place_us``: CPU microseconds for each chunk.
    ``held_balance``: chunks of the fullest host, as a multiple of the mean.
    """

    hosts: int
    replicas: int
    chunks: int
    place_us: float
    held_balance: float


@click.command()
@_several("--hosts", "10,30,100,300,1000", "Hosts with workers.")
@_several("--replicas", "1,2,3", "Copies of each object.")
@_several("--slots", "4", "Tasks that a host runs at a time.")
@_several("--objects", "1", "Objects that a task reads.")
@_several("--chunks", "1e5,1e8", "Objects of the dataset.")
@click.option("--tasks", type=click.IntRange(1), default=TASKS_MAX, show_default=True, help="Beyond these, sample.")
@_several("--stream", None, "Instead: place so many chunks, one after the other, and do nothing else.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the made maps and the tasks' lengths.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each cell, instead of the table.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Also write a picture (PNG).")
def simulate(
    hosts: Sequence[int],
    replicas: Sequence[int],
    slots: Sequence[int],
    objects: Sequence[int],
    chunks: Sequence[int],
    tasks: int,
    stream: Sequence[int] | None,
    seed: int,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Simulate analyses on clusters of any size: the real placement and the real queue, on made maps.

    Each combination of the numbers given is a cell. A cell of more tasks than --tasks is sampled: its first tasks run,
    with as many again queued behind them.
    """
    if picture is not None and not picture.resolve().parent.is_dir():
        raise click.ClickException(f"--plot is {str(picture)!r}: there is no such directory; make it, or give another")
    if stream is not None:
        for line in _streams(hosts, replicas, stream, seed):
            click.echo(json.dumps(line.__dict__))
        return
    cells = [Cell(*numbers) for numbers in product(hosts, replicas, slots, objects, chunks)]
    try:
        for cell in cells:
            cell.check()
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    results = []
    for result in _watched(cells, seed, tasks):
        results.append(result)
        if as_json:
            click.echo(json.dumps(result.to_dict()))
    if not as_json:
        _print_table(results)
    if picture is not None:
        from appliance.simulate.plot import plot

        plot(results, picture)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _watched(cells: Sequence[Cell], seed: int, tasks: int) -> Iterator[Result]:
    with _progress() as progress:
        bar = progress.add_task("", total=len(cells))
        for cell in cells:
            progress.update(bar, description=f"{cell.hosts} hosts, {cell.chunks:,} chunks")
            yield Run(cell, seed, tasks).result()
            progress.advance(bar)


def _streams(hosts: Sequence[int], replicas: Sequence[int], counts: Sequence[int], seed: int) -> Iterator[Streamed]:
    for count, of_hosts, of_replicas in product(counts, hosts, replicas):
        with _progress() as progress:
            bar = progress.add_task(f"{of_hosts} hosts", total=count)
            us, balance = engine.stream(of_hosts, of_replicas, count, seed, partial(progress.advance, bar))
        yield Streamed(of_hosts, of_replicas, count, round(us, 4), round(balance, 5))


def _print_table(results: Sequence[Result]) -> None:
    table = Table(box=None, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for result in results:
        cell = result.cell
        table.add_row(
            *(f"{number:,}" for number in (cell.hosts, cell.replicas, cell.slots, cell.objects, cell.chunks)),
            f"{result.tasks_run:,}{' *' if result.sampled else ''}",
            *(f"{us:.2f}" for us in (result.place_us, result.decide_us)),
            f"{result.balance:.3f}",
            *(f"{share:.3f}" for share in (result.local_share, result.best_share, result.wire_per_byte)),
            *(f"{share:.3f}" for share in (result.wire_per_byte_blind, result.idle_share)),
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    if any(result.sampled for result in results):
        console.print("* a sample: the first tasks of the analysis, with as many more queued behind them")
