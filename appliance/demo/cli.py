"""``appliance demo``: from nothing to a facility with an analysis on it, and the figures of that."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from appliance.demo import site
from appliance.demo.analysis import SST_FILE, Analysis, analyse
from appliance.demo.browser import BrowserError, chromium, resolver_rules
from appliance.demo.data import make_sst
from appliance.demo.facility import PROJECT, Facility, FacilityError
from appliance.demo.reference import ComparisonError
from appliance.demo.report import DemoReport
from appliance.demo.wire import WireError
from appliance.rack.model import RackError, load

OUT = Path("build/demo")
REAL_DATA = PROJECT.parent / "shared" / "data"
FAULTS = (BrowserError, ComparisonError, FacilityError, RackError, WireError, site.CommandFailed)


class _Refusals(click.Group):
    """A group whose commands end the room's own errors as a message and exit code 1, not as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FAULTS as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Refusals, context_settings={"help_option_names": ["-h", "--help"]})
def demo() -> None:
    """Build the facility on an emulated rack and run a researcher's analysis on it."""


_RACK = click.option("--name", default="rack", show_default=True, envvar="APPLIANCE_RACK", help="Which rack.")
_USER = click.option("--user", default="alice", show_default=True, help="The researcher who runs the analysis.")
_OUT = click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True, help="Where results go.")
_DATA = click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help=f"NetCDF files to analyse, {SST_FILE} among them [default: ../shared/data, or data made for the purpose].",
)


@demo.command()
@_RACK
@_USER
@_OUT
@_DATA
def run(name: str, user: str, out: Path, data: Path | None) -> None:
    """Depot, rack, site.yml twice, then the analysis in a browser; leaves the facility up."""
    files = _files(data, out)
    facility = Facility(name)
    new_rack = load(name) is None
    with _step("depot"):
        _appliance(facility, out, "depot", "up")
        _appliance(facility, out, "depot", "fill")
    with _step(f"rack {name}"):
        _appliance(facility, out, "rack", "up")
    with _step("secrets"):
        _appliance(facility, out, "secrets", str(facility.inventory))
    first = _site(facility, out, "site.yml")
    second = _site(facility, out, "site.yml again")
    with _step("analysis") as say, chromium(facility.front) as browser:
        analysis = analyse(browser, facility, user, files, out, say)
    report = _report(new_rack, first, second, analysis, files)
    report.write(out / "report.json")
    _show(report, out)
    _farewell(facility, user, out)
    if faults := report.faults():
        raise click.ClickException("the demo ran, and does not show what it should:\n  " + "\n  ".join(faults))


@demo.command()
@_RACK
@_USER
@_OUT
@_DATA
def analysis(name: str, user: str, out: Path, data: Path | None) -> None:
    """Only the analysis in a browser, on a facility that stands."""
    facility = Facility(name)
    with _step("analysis") as say, chromium(facility.front) as browser:
        found = analyse(browser, facility, user, _files(data, out), out, say)
    table = Table(show_header=False)
    for field, value in (vars(found) | {"wire_bytes_per_byte_read": found.wire_bytes_per_byte_read}).items():
        table.add_row(field, str(value))
    Console().print(table)


@demo.command(name="data")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def make_data(directory: Path) -> None:
    """Make the example's data in DIRECTORY: sea surface temperature with the layout of OSTIA."""
    click.echo(make_sst(directory / SST_FILE))


def _files(data: Path | None, out: Path) -> list[Path]:
    """The NetCDF files to analyse: those named, those at hand, or one that is made."""
    directory = data or (REAL_DATA if (REAL_DATA / SST_FILE).is_file() else None)
    if directory is None:
        return [make_sst(out / "data" / SST_FILE)]
    files = sorted(directory.glob("*.nc"))
    if SST_FILE not in {path.name for path in files}:
        raise click.BadParameter(f"{directory}: holds no {SST_FILE}", param_hint="--data")
    return files


def _appliance(facility: Facility, out: Path, *words: str) -> None:
    command = [sys.executable, "-m", "appliance.cli", *words]
    log = "-".join(word for word in words if "/" not in word)
    site.run(command, out / f"{log}.log", facility.environment, directory=PROJECT)


def _site(facility: Facility, out: Path, title: str) -> site.Play:
    command = ["ansible-playbook", "site.yml"]  # on the inventory that the environment names
    with _step(title) as say:
        return site.play(command, out / f"{title.replace(' ', '-')}.log", facility.environment, say, PROJECT)


@contextmanager
def _step(title: str) -> Iterator[Callable[[str], None]]:
    """Show that a step is under way, what it is at, and how long it took in the end."""
    console = Console(stderr=True)
    start = time.monotonic()
    with console.status(title) as shown:
        yield lambda at: shown.update(f"{title}: {at}")
    console.print(f"[green]✓[/] {title} [dim]{time.monotonic() - start:.1f} s[/]")


def _report(new_rack: bool, first: site.Play, second: site.Play, analysis: Analysis, files: list[Path]) -> DemoReport:
    return DemoReport(
        new_rack=new_rack,
        site_seconds=first.seconds,
        second_run_seconds=second.seconds,
        second_run_changed=second.changed,
        spawn_seconds=analysis.spawn.seconds,
        lab_seconds=analysis.spawn.lab_seconds,
        new_cluster_seconds=analysis.new_cluster_seconds,
        notebook_seconds=analysis.notebook_seconds,
        reduction_seconds=analysis.reduction_seconds,
        reduction_bytes=analysis.reduction_bytes,
        reads_local_share=analysis.reads_local_share,
        wire_bytes_per_byte_read=analysis.wire_bytes_per_byte_read,
        wire_bytes_by_machine=analysis.sent_by_machine,
        max_abs_error=analysis.max_abs_error,
        made_max_abs_error=analysis.made_max_abs_error,
        data=[path.name for path in files],
    )


def _show(report: DemoReport, out: Path) -> None:
    table = Table(title=f"{out / 'report.json'}", show_header=False)
    for field, value in vars(report).items():
        table.add_row(field, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console().print(table)


def _farewell(facility: Facility, user: str, out: Path) -> None:
    view = shlex.join(
        ["ansible-vault", "view", "--vault-password-file", str(facility.vault_password), str(facility.secrets)]
    )
    front = facility.front
    (out / "authority.pem").write_text(front.authority)
    click.echo(f"\nThe facility is up: {front.url}")
    click.echo(
        f"No DNS knows it, so tell a browser on this host: chromium --host-resolver-rules='{resolver_rules(front)}'. "
        f"It warns, since it does not know who signed the certificate, until {out / 'authority.pem'} is imported among "
        "its certificate authorities."
    )
    click.echo(f"Log in as {user}; the password stands under accounts_passwords in: {view}")
    click.echo(
        f"Pictures and figures are in {out}. `appliance rack --name {facility.rack_name} down` removes the rack."
    )
