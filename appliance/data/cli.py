"""``appliance data put`` and ``appliance data virtualize``."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.data import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress


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
@click.option("--group", help="The HDF5 group whose variables are wanted.")
@click.option("--format", "kind", type=click.Choice(["kerchunk", "icechunk"]), default="kerchunk", show_default=True)
def virtualize(sources: tuple[str, ...], target: str, dim: str, group: str | None, kind: str) -> None:
    """Make one dataset of NetCDF files on S3 without copying them."""
    from appliance.data.virtual import expand
    from appliance.data.virtual import virtualize as make

    with _errors():
        urls = expand(sources)
        with _progress(by_bytes=False) as bar:
            task = bar.add_task("files", total=len(urls))
            made = make(urls, target, dim=dim, group=group, format=kind, progress=lambda _url: bar.advance(task))
    click.echo(f"made {made} of {len(urls)} files; open it with")
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
