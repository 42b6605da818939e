"""``appliance release``: make a release of the checkout in the current directory, and check the record of all."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from appliance.release import make as steps
from appliance.release import record as records
from appliance.release.errors import ReleaseError
from appliance.release.repository import Repository


@click.group()
def release() -> None:
    """Make a release and check the record of releases (maintainers; docs/releasing.md)."""


@release.command()
@click.argument("version")
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    default=lambda: datetime.datetime.now(datetime.UTC),
    show_default="today",
    help="The day that the changelog names.",
)
def make(version: str, date: datetime.datetime) -> None:
    """Release the checkout as VERSION, such as 0.1.0, in two commits."""
    try:
        made = steps.make(Repository(Path.cwd()), records.release_version(version), date.date())
    except ReleaseError as error:
        raise click.ClickException(str(error)) from None
    _tell(made)


@release.command()
def record() -> None:
    """Record a release that was interrupted between its two commits."""
    try:
        made = steps.record_head(Repository(Path.cwd()))
    except ReleaseError as error:
        raise click.ClickException(str(error)) from None
    _tell(made)


@release.command()
def check() -> None:
    """Say whether the record of releases and the repository's history agree."""
    repository = Repository(Path.cwd())
    if wrong := records.faults(repository):
        raise click.ClickException("\n".join(wrong))
    for made in records.read(repository):
        _tell(made)


def _tell(made: records.Release) -> None:
    click.echo(f"{made.version}  {made.date}  {made.commit}")
