"""``appliance data versions list``, ``branch``, ``tag`` and ``collect``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from appliance.data import DataError
from appliance.data.progress_bar import errors, steps

if TYPE_CHECKING:
    from appliance.data.versions import Version

UNITS = {"h": "hours", "d": "days", "w": "weeks"}
STEPS = {"copy": "metadata copied for a trial", "expire": "histories shortened", "collect": "objects looked at"}
SIZES = ("bytes", "KiB", "MiB", "GiB", "TiB")

URL = click.argument("url", metavar="s3://BUCKET/NAME")
AT = click.option("--at", default="main", show_default=True, help="A branch, a tag, or the id of a snapshot.")


@click.group()
def versions() -> None:
    """Versions of an Icechunk repository: history, branches, tags, and removing what none of them reaches."""


@versions.command("list")
@URL
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="So many of each branch.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
def list_(url: str, last: int, everything: bool) -> None:
    """List branches, tags, and the snapshots of each branch, newest first, with time (UTC) and message."""
    from appliance.data.repositories import opened
    from appliance.data.versions import listed, plain_errors, tips

    with errors(), plain_errors(url):
        repository = opened(url)
        shown: dict[str, str] = {}  # a snapshot, and the branch below which it stands
        for name, snapshot in tips(repository).items():
            click.echo(f"branch {name}")
            found = listed(repository, snapshot, None if everything else last + 1)
            for each in found if everything else found[:last]:
                if each.snapshot in shown:
                    click.echo(f"  {each.snapshot}  and older: as on {shown[each.snapshot]}")
                    break
                shown[each.snapshot] = name
                click.echo(f"  {_line(each)}")
            else:
                if not everything and len(found) > last:
                    click.echo("  older ones: --all")
        aside = [name for name in sorted(repository.list_tags()) if repository.lookup_tag(name) not in shown]
        for name in aside:
            click.echo(f"tag {name}")
            click.echo(f"  {_line(listed(repository, repository.lookup_tag(name), 1)[0])}")


def _line(version: Version) -> str:
    # What others wrote is shown to whoever lists: no control characters, one line.
    said = "".join(each if each.isprintable() else " " for each in version.message)
    tags = f"  [{', '.join(f'tag {name}' for name in version.tags)}]" if version.tags else ""
    return f"{version.snapshot}  {version.written_at:%Y-%m-%d %H:%M:%S}{tags}  {said}"


@versions.command()
@URL
@click.argument("name")
@AT
@click.option("--delete", is_flag=True, help="Remove the branch. Its snapshots stay until they are collected.")
def branch(url: str, name: str, at: str, delete: bool) -> None:
    """Make a branch, or remove one."""
    from appliance.data import versions as made

    _named("branch", made.branch, url, name, at, delete)


@versions.command()
@URL
@click.argument("name")
@AT
@click.option("--delete", is_flag=True, help="Remove the tag. No other tag can have its name afterwards.")
def tag(url: str, name: str, at: str, delete: bool) -> None:
    """Give a name to a snapshot for good, so that it is kept; or remove such a name."""
    from appliance.data import versions as made

    _named("tag", made.tag, url, name, at, delete)


def _named(kind: str, make: Any, url: str, name: str, at: str, delete: bool) -> None:
    from appliance.data.versions import remove

    with errors():
        if delete:
            remove(url, kind, name)
            click.echo(f"{url}: the {kind} {name} is removed")
        else:
            click.echo(f"{url}: the {kind} {name} is at {make(url, name, at)}")


@versions.command()
@URL
@click.option("--older-than", default="30d", show_default=True, help="What is younger stays: 12h, 30d or 4w.")
@click.option("--expire", is_flag=True, help="Shorten histories too: of older versions, only tips and tags stay.")
@click.option("--yes", is_flag=True, help="Remove it. Without this, it is only told what would go.")
@click.option("--unused", is_flag=True, help="Nobody reads or writes it now: --older-than may be less than a day.")
def collect(url: str, older_than: str, expire: bool, yes: bool, unused: bool) -> None:
    """Remove what is old and reached by no branch and no tag.

    All branches and tags open as before. A dataset that was opened at a version which is removed cannot be read on.
    """
    from appliance.data.collecting import collect as gather

    with errors():
        age = length_of_time(older_than)
        with steps(STEPS) as shown:
            told = gather(url, age, expire=expire, remove=yes, unused=unused, progress=shown)
    if not told.bytes and not told.shortened:
        click.echo(f"{url}: nothing older than {older_than} that no branch and no tag reaches")
        return
    verb = "removed" if yes else "would remove"
    click.echo(f"{url}: {verb} {told.snapshots} versions, {_size(told.bytes)} in all")
    if told.shortened:
        click.echo(f"histories {'are' if yes else 'would be'} shortened by {told.shortened} versions")
    click.echo(f"as before: {', '.join((*told.branches, *(f'tag {name}' for name in told.tags)))}")
    if not yes:
        click.echo("nothing was removed. A dataset that is open at one of these versions could not be read on;")
        click.echo("the catalogue, and whoever opens the repository anew, have the branch main. To remove them: --yes")


def length_of_time(text: str) -> timedelta:
    """A length of time such as 12h, 30d or 4w. Raises ``DataError`` for anything else."""
    found = re.fullmatch(r"([0-9]{1,5})([hdw])", text.strip())
    if not found:
        raise DataError(f"--older-than {text!r}: write hours, days or weeks, such as 12h, 30d or 4w")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _size(nbytes: int) -> str:
    scale = min((max(nbytes, 1).bit_length() - 1) // 10, len(SIZES) - 1)
    return f"{nbytes} bytes" if not scale else f"{nbytes / 1024**scale:.1f} {SIZES[scale]}"
