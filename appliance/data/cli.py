"""``appliance data``: bring files to S3, describe them in place, copy them into datasets, and publish these."""

from __future__ import annotations

import time
from pathlib import Path

import click

from appliance.data.catalogue_cli import COMMANDS
from appliance.data.files_cli import get, run
from appliance.data.ingest_cli import abandon, ingest, rechunk
from appliance.data.progress_bar import bar, errors
from appliance.data.scratch_cli import scratch
from appliance.data.versions_cli import versions

STEPS = {"look": "files looked at", "check": "files compared", "compare": "arrays and chunks compared"}


@click.group()
def data() -> None:
    """Bring files to the facility's S3, make datasets of them there or by a copy, and find and publish datasets."""


@data.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("url", metavar="s3://BUCKET/PREFIX")
def put(files: tuple[Path, ...], url: str) -> None:
    """Upload files as they are, in parts that lie together on one host each."""
    from appliance.data.transfer import upload

    with errors(), bar() as shown:
        total = sum(file.stat().st_size for file in files if file.is_file())
        task = shown.add_task(f"{len(files)} files", total=total)
        for address in upload(files, url, lambda _file, nbytes: shown.advance(task, nbytes)):
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
    with errors():
        changes = Preprocess.parsed(preprocess)
        urls = expand(sources)
        with bar(by_bytes=False) as shown:
            totals = {"look": len(urls), "check": len(urls)}  # how many chunks there are is seen as they are compared
            tasks = {step: shown.add_task(text, total=totals.get(step)) for step, text in STEPS.items()}
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
                progress=lambda step, _url: shown.advance(tasks[step]),
                tell=said.append,
            )
    for text in said:
        click.echo(text)
    click.echo(f"made {made} of {len(urls)} files in {time.monotonic() - began:.1f} s; open it with")
    click.echo("  from appliance.data import virtual_store")
    click.echo(f'  xr.open_zarr(virtual_store("{made}"))')


for command in (get, run, ingest, rechunk, abandon, scratch, versions, *COMMANDS):
    data.add_command(command)
