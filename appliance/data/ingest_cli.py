"""``appliance data ingest``, ``rechunk`` and ``abandon``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from appliance.data import DataError
from appliance.data.progress_bar import errors

if TYPE_CHECKING:
    from distributed import Client

MIB = 2**20


# What both commands have.
OPTIONS = (
    click.option(
        "--for",
        "access",
        type=click.Choice(["map", "series", "both"]),
        default="both",
        show_default=True,
        help="What is read of it: all places at a moment, all moments at a place, or both.",
    ),
    click.option("--chunks", metavar="DIM=LENGTH,…", help="Lengths of chunks that are wanted anyhow; -1 is all of it."),
    click.option("--compression", default="measured", show_default=True, help="One way, by name, instead of the best."),
    click.option("--format", "kind", type=click.Choice(["zarr", "icechunk"]), default="zarr", show_default=True),
    click.option("--replace", is_flag=True, help="Replace what an Icechunk repository has on its branch main."),
    click.option("--group", help="The group whose variables are wanted; of GRIB the dataset, KEY=VALUE,…"),
    click.option(
        "--preprocess",
        multiple=True,
        metavar="drop=NAME,…|rename=OLD:NEW,…",
        help="Variables that are left out, or get another name. May be given several times.",
    ),
    click.option(
        "--check",
        type=click.Choice(["sample", "all"]),
        default="sample",
        show_default=True,
        help="What is compared with the source: of large arrays a sample, or all.",
    ),
    click.option("--forecast", is_flag=True, help="Say what it takes of disk and memory, and write nothing."),
    click.option("--workers", type=click.IntRange(min=1), help="Copy on a cluster of so many workers, for this time."),
    click.option(
        "--block", type=click.IntRange(min=1), default=128, show_default=True, help="MiB of values of a block."
    ),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("sources", metavar="FILE|s3://BUCKET/*.nc|https://…", nargs=-1, required=True)
@click.argument("target", metavar="s3://BUCKET/NAME")
@click.option("--dim", default="time", show_default=True, help="The dimension along which the files are joined.")
@click.option("--combine", metavar="NAME", help="The coordinate by which they are joined, if not that of --dim.")
@_options
def ingest(sources: tuple[str, ...], target: str, **options: Any) -> None:
    """Copy files into one dataset on S3, and compare it with them before it can be seen."""
    from appliance.data import ingesting

    _run(ingesting.ingest, sources, target, **options)


@click.command()
@click.argument("source", metavar="s3://BUCKET/OLD")
@click.argument("target", metavar="s3://BUCKET/NAME")
@_options
def rechunk(source: str, target: str, **options: Any) -> None:
    """Copy a dataset into other chunks, and compare it with the old one before it can be seen."""
    from appliance.data import ingesting

    _run(ingesting.rechunk, source, target, **options)


def _run(
    make: Callable[..., str],
    source: Any,
    target: str,
    *,
    chunks: str | None,
    kind: str,
    preprocess: tuple[str, ...],
    workers: int | None,
    block: int,
    forecast: bool,
    **options: Any,
) -> None:
    from appliance.data.preprocess import Preprocess

    began = time.monotonic()
    with errors(), _cluster(None if forecast else workers) as client:
        changes = Preprocess.parsed(preprocess)
        made = make(
            source,
            target,
            chunks=lengths(chunks),
            format=kind,
            drop=changes.drop,
            rename=changes.rename,
            client=client,
            block_bytes=block * MIB,
            forecast=forecast,
            tell=click.echo,
            **options,
        )
    if forecast:
        return
    opened = f'"{made}"' if kind == "zarr" else f'virtual_store("{made}")'
    click.echo(f"made {made} in {time.monotonic() - began:.1f} s; open it with")
    if kind == "icechunk":
        click.echo("  from appliance.data import virtual_store")
    click.echo(f"  xr.open_zarr({opened})")


@click.command()
@click.argument("target", metavar="s3://BUCKET/NAME")
def abandon(target: str) -> None:
    """Remove what a copy that did not come to its end left behind."""
    from appliance.data.ingesting import abandon as remove

    with errors():
        remove(target)
    click.echo(f"{target}: removed")


def lengths(text: str | None) -> dict[str, int]:
    """Lengths by dimension, of ``DIM=LENGTH,DIM=LENGTH``. Raises ``DataError`` for anything else."""
    made = {}
    for part in (part.strip() for part in (text or "").split(",") if part.strip()):
        dim, _, length = part.rpartition("=")
        if not dim or not length.removeprefix("-").isdecimal():
            raise DataError(f"--chunks {text!r}: write DIM=LENGTH,DIM=LENGTH")
        made[dim.strip()] = int(length)
    return made


@contextlib.contextmanager
def _cluster(workers: int | None) -> Iterator[Client | None]:
    """A cluster of the researcher's own, for as long as this takes; None where no workers are asked for."""
    if workers is None:
        yield None
        return
    from dask_gateway import Gateway

    from appliance.data.copying import WORKERS_SECONDS, no_workers

    with Gateway() as gateway, gateway.new_cluster() as cluster:
        cluster.scale(workers)
        with cluster.get_client() as client:
            try:
                client.wait_for_workers(1, timeout=WORKERS_SECONDS)
            except TimeoutError as error:
                raise DataError(no_workers()) from error
            yield client
