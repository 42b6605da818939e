"""What a long command shows: how far it is, in a terminal and in a notebook, and what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from appliance.data import DataError

if TYPE_CHECKING:
    from rich.progress import Progress

Progressing = Callable[[str, int, int | None], None]  # a step, how much more of it is done, and of how much


@contextmanager
def bar(by_bytes: bool = True) -> Iterator[Progress]:
    """Rich's bar, on the standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    amount = DownloadColumn() if by_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    console = Console(stderr=True)
    shown = sys.stderr.isatty() or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not shown) as made:
        yield made


@contextmanager
def errors() -> Iterator[None]:
    """Say errors of the user's as a command does: the message, its notes, and no traceback."""
    import click

    try:
        yield
    except (DataError, OSError, ValueError) as error:
        raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
    except KeyboardInterrupt as error:  # click says that it was one
        for note in getattr(error, "__notes__", []):
            click.echo(note, err=True)
        raise


@contextmanager
def steps(names: Mapping[str, str]) -> Iterator[Progressing]:
    """A bar with a line for each step that has begun. ``names`` are the lines' texts by step."""
    with bar(by_bytes=False) as made:
        tasks = {}

        def advance(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = made.add_task(names.get(step, step), total=total)
            made.update(tasks[step], advance=done, total=total)

        yield advance
