"""``appliance data record``, ``forget``, ``find``, ``publish`` and ``withdraw``."""

from __future__ import annotations

import click

from appliance.data.progress_bar import errors

KINDS = click.Choice(["zarr", "kerchunk", "icechunk", "netcdf", "files"])


@click.command()
@click.argument("url", metavar="s3://BUCKET/NAME")
@click.option("--kind", type=KINDS, help="What it is, where the ending of its name does not say so.")
@click.option("--title", default="", help="What it is called.")
@click.option("--description", default="", help="A sentence or two about it.")
@click.option("--keyword", multiple=True, help="A word by which it is found. May be given several times.")
@click.option("--preview/--no-preview", default=True, show_default=True, help="Whether a picture of one field is made.")
def record(url: str, kind: str | None, title: str, description: str, keyword: tuple[str, ...], preview: bool) -> None:
    """Put a dataset into the catalogue, for you alone."""
    from appliance.data import record as put

    with errors():
        entry = put(url, kind, title=title, description=description, keywords=keyword, preview=preview)
    click.echo(f"{entry.address} is in the catalogue as {entry.title!r}")


@click.command()
@click.argument("url", metavar="s3://BUCKET/NAME")
def forget(url: str) -> None:
    """Take a dataset out of the catalogue; the dataset stays."""
    from appliance.data import forget as take

    with errors():
        take(url)


@click.command()
@click.argument("words", nargs=-1)
@click.option("--time", nargs=2, metavar="FIRST LAST", help="Years, months or days, such as 1990 1999-06.")
@click.option("--area", nargs=4, type=float, metavar="WEST SOUTH EAST NORTH", help="In degrees, from -180 to 180.")
@click.option("--variable", help="The name of a variable, or its standard name.")
def find(
    words: tuple[str, ...],
    time: tuple[str, str] | None,
    area: tuple[float, float, float, float] | None,
    variable: str | None,
) -> None:
    """List datasets of your own, and those that others have published."""
    from appliance.data import catalogue

    with errors():
        click.echo(repr(catalogue().search(" ".join(words), time=time, area=area, variable=variable)))


@click.command()
@click.argument("url", metavar="s3://BUCKET/NAME")
@click.option("--licence", required=True, help="An identifier of SPDX, such as CC-BY-4.0, or other.")
@click.option("--citation", required=True, help="How it is to be cited.")
def publish(url: str, licence: str, citation: str) -> None:
    """Let everybody read a dataset of the catalogue, and list it for everybody."""
    from appliance.data import publish as give
    from appliance.data.cataloguing.believed import FILES
    from appliance.placement.model.s3_address import S3Address

    with errors():
        entry = give(url, licence=licence, citation=citation)
    # A description that somebody else made may name any file of the bucket: its owner is told which are opened.
    for file in entry.feature["properties"][FILES]:
        click.echo(f"with it: s3://{S3Address.parse(entry.address).bucket}/{file}")
    click.echo(f"everybody may read {entry.address}; `appliance data withdraw {entry.address}` ends that")


@click.command()
@click.argument("url", metavar="s3://BUCKET/NAME")
def withdraw(url: str) -> None:
    """End that everybody may read a dataset."""
    from appliance.data import withdraw as take

    with errors():
        take(url)
    click.echo(f"{url} is not published: somebody without keys is refused")


COMMANDS = (record, forget, find, publish, withdraw)
