"""``appliance data put`` and ``appliance data virtualize``."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.data import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress


STEPS = {"look": "files looked at", "check": "files compared", "compare": "arrays and chunks compared"}


@click.group()
def data() -> None:
    """Bring files to the facility's S3, and make datasets of them where they are."""


@data.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("url", metavar="s3://BUCKET/PREFIX")
def put(files: tuple[Path, ...], url: str) -> None:
    """Upload files as they are, in parts that lie together on one host each."""
    from appliance.data.transfer import upload

    with _errors(), _progress() as bar:
        total = sum(file.stat().st_size for file in files if file.is_file())
        task = bar.add_task(f"{len(files)} files", total=total)
        for address in upload(files, url, lambda _file, nbytes: bar.advance(task, nbytes)):
            click.echo(address)


@data.command()
@click.argument("sources", metavar="s3://BUCKET/*.nc...", nargs=-1, required=True)
@click.argument("target", metavar="s3://BUCKET/NAME")
@click.option("--dim", default="time", show_default=True, help="The dimension along which the files are joined.")
@click.option("--combine", metavar="NAME", help="The coordinate by which they are joined, if not that of --dim.")
@click.option("--group", help="The HDF5 group whose variables are wanted.")
@click.option("--format", "kind", type=click.Choice(["kerchunk", "icechunk"]), default="kerchunk", show_default=True)
@click.option(
    "--preprocess",
    multiple=True,
    metavar="drop=NAME,…|rename=OLD:NEW,…",
    help="Variables that are left out, or get another name, in each file. May be given several times.",
)
@click.option(
    "--check",
    type=click.Choice(["sample", "all"]),
    default="sample",
    show_default=True,
    help="What is compared with the files: of large arrays a sample, or all.",
)
def virtualize(
    sources: tuple[str, ...],
    target: str,
    dim: str,
    combine: str | None,
    group: str | None,
    kind: str,
    preprocess: tuple[str, ...],
    check: str,
) -> None:
    """Make one dataset of NetCDF files on S3 without copying them, and compare it with them."""
    from appliance.data.file_set import expand
    from appliance.data.preprocess import Preprocess
    from appliance.data.virtual import virtualize as make

    said: list[str] = []
    began = time.monotonic()
    with _errors():
        changes = Preprocess.parsed(preprocess)
        urls = expand(sources)
        with _progress(by_bytes=False) as bar:
            totals = {"look": len(urls), "check": len(urls)}  # how many chunks there are is seen as they are compared
            tasks = {step: bar.add_task(text, total=totals.get(step)) for step, text in STEPS.items()}
            made = make(
                urls,
                target,
                dim=dim,
                combine=combine,
                group=group,
                format=kind,
                drop=changes.drop,
                rename=changes.rename,
                check=check,
                progress=lambda step, _url: bar.advance(tasks[step]),
                tell=said.append,
            )
    for text in said:
        click.echo(text)
    click.echo(f"made {made} of {len(urls)} files in {time.monotonic() - began:.1f} s; open it with")
    click.echo("  from appliance.data import virtual_store")
    click.echo(f'  xr.open_zarr(virtual_store("{made}"))')


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (DataError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _progress(by_bytes: bool = True) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    amount = DownloadColumn() if by_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        yield bar
