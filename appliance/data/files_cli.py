"""``appliance data get`` and ``appliance data run``: objects as files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from appliance.data.progress_bar import bar, errors


@click.command()
@click.argument("urls", metavar="s3://BUCKET/*.nc...", nargs=-1, required=True)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
def get(urls: tuple[str, ...], folder: Path) -> None:
    """Copy files from S3 into a folder, each under its own name."""
    from appliance.data.local_copies import download

    with errors(), bar() as shown:
        task = shown.add_task("files from S3", total=None)
        for path in download(urls, folder, lambda _url, nbytes: shown.advance(task, nbytes)):
            click.echo(path)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--in", "place", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Where copies lie.")
@click.argument("command", metavar="PROGRAM [WORD|s3://BUCKET/FILE]...", nargs=-1, required=True)
def run(place: Path | None, command: tuple[str, ...]) -> None:
    """Run a program that knows only files, such as ncdump or cdo, on files of S3.

    Each word that is an address on S3 is copied first, and the program gets the copy's path, which it can read and not
    write. The copies are deleted when it ends. Results go to files of yours: `appliance data put` brings them to S3.
    """
    from appliance.data.local_copies import run as run_on

    with errors():
        status = run_on(command, place)
    sys.exit(status)
