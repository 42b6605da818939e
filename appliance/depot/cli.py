"""``appliance depot``: what machines without a way out install from."""

from __future__ import annotations

import ipaddress
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import asdict, replace

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from appliance.depot import config, environments, locks, mirror, own_wheel, server, signing, traffic, wheels
from appliance.depot.errors import DepotError
from appliance.depot.layout import ENVIRONMENTS, Depot, Project


class _Faults(click.ClickException):
    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        for line in self.message.splitlines():
            click.echo(f"error: {line}", err=True)


class _DepotGroup(click.Group):
    """Turns the depot's own errors into messages with exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (DepotError, FileNotFoundError, PermissionError) as error:
            raise _Faults(str(error)) from error


@click.group(cls=_DepotGroup)
def depot() -> None:
    """Serve packages, wheels and environments to machines without internet."""


def _networks(_ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise click.BadParameter(f"{network!r} is no network: {error}", param=parameter) from error
    return value


@depot.command()
@click.option("--listen", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104
@click.option("--port", default=config.DEFAULT_PORT, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--allow",
    multiple=True,
    callback=_networks,
    help="Network whose machines may ask, besides this host; repeatable. Default: the private networks of RFC 1918.",
)
@click.option("--mirror", "mirror_uri", help="Debian mirror to pass on. Default: the one in this host's apt sources.")
@click.option("--security-mirror", help="Debian's security archive to pass on. Default: as for --mirror.")
@click.option(
    "--refresh",
    default="12h",
    show_default=True,
    metavar="TIME",
    help="How long an index is served before the mirror is asked whether it changed (nginx time: 30m, 12h, 7d).",
)
def up(
    listen: str,
    port: int,
    allow: tuple[str, ...],
    mirror_uri: str | None,
    security_mirror: str | None,
    refresh: str,
) -> None:
    """Start the depot, or bring a running one to these settings."""
    here = Depot.default()
    known = mirror.mirrors(mirror.sources())
    settings = config.Settings(
        listen=listen,
        port=port,
        allow=allow or config.PRIVATE_NETWORKS,
        debian=(mirror_uri or known.debian or "").rstrip("/") or None,
        security=(security_mirror or known.security or "").rstrip("/") or None,
        refresh=refresh,
        nameservers=config.nameservers(),
    )
    settings = replace(settings, debian=_addressable(settings.debian), security=_addressable(settings.security))
    done = server.up(here, settings)
    signing.load_or_make(here.signing_key, here.public_key)
    environments.open_cache(here)
    click.echo(f"depot {done}: http://{listen}:{port}/ serves {here.root}, Debian from {settings.debian}")
    if settings.debian and (trouble := _unreachable(settings.debian)):
        click.echo(f"warning: {settings.debian}: {trouble}; what was fetched before is served all the same", err=True)


def _addressable(uri: str | None) -> str | None:
    """The address as nginx can use it: it asks name servers for names, and those need not know ``localhost``."""
    if uri is None:
        return None
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DepotError(f"mirror {uri!r}: not http://HOST/PATH or https://HOST/PATH; name another: --mirror")
    if parts.hostname == "localhost":
        return parts._replace(netloc=parts.netloc.replace("localhost", "127.0.0.1", 1)).geturl()
    return uri


def _unreachable(uri: str) -> str | None:
    request = urllib.request.Request(f"{uri}/dists/trixie/Release", method="HEAD")  # noqa: S310 - http(s) only
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            return None
    except (OSError, urllib.error.URLError) as error:
        return f"cannot be reached now ({error})"


@depot.command()
def down() -> None:
    """Stop the depot; what it fetched stays for the next time."""
    click.echo("depot stopped" if server.down(Depot.default()) else "depot was not running")


@depot.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(as_json: bool) -> None:
    """Show what was asked for and what had to be fetched since the depot came up."""
    here = Depot.default()
    pid = server.running_pid(here)
    by_kind = traffic.read_log(here.access_log)
    total = traffic.Traffic()
    for figures in by_kind.values():
        total.add(figures)
    cached = sum(path.stat().st_size for path in here.debian.rglob("*") if path.is_file())
    built = sorted(path.stem for path in here.records.glob("*.json"))
    if as_json:
        report = {
            "running": pid is not None,
            "pid": pid,
            "directory": str(here.root),
            "total": asdict(total),
            "kinds": {kind: asdict(figures) for kind, figures in by_kind.items()},
            "debian_bytes": cached,
            "environments": built,
        }
        click.echo(json.dumps(report))
        return
    console = Console()
    state = f"running (pid {pid})" if pid is not None else "not running (`appliance depot up`)"
    console.print(f"depot {state}, {here.root}: {cached / 1e6:.0f} MB of Debian, {len(built)} environments built")
    table = Table(title="since it came up")
    for column in ("what", "requests", "from here", "fetched", "failed", "MB served", "MB fetched"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for kind, figures in [*sorted(by_kind.items()), ("all", total)]:
        counts = (figures.requests, figures.hits, figures.misses, figures.failures)
        megabytes = (figures.bytes_served / 1e6, figures.bytes_fetched / 1e6)
        table.add_row(kind, *(str(count) for count in counts), *(f"{value:.1f}" for value in megabytes))
    console.print(table)


@depot.command()
def fill() -> None:
    """Fetch the wheels of the environments' locks that are missing here, and make the project's own wheel."""
    here, project = Depot.default(), Project.here()
    here.wheels.mkdir(parents=True, exist_ok=True)
    store = environments.store(here)
    wanted = {
        requirement.text: requirement
        for path in (project.build_lock, *(project.lock(name) for name in ENVIRONMENTS))
        for requirement in locks.parse(path)
    }
    missing = store.match(wanted.values())[1]
    if missing:
        columns = (TextColumn("fetching wheels"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[now]}"), console=Console(stderr=True)) as progress:
            task = progress.add_task("wheels", total=len(missing), now="")
            wheels.fetch(store, missing, lambda name: progress.update(task, advance=1, now=name))
        missing = store.match(wanted.values())[1]
    own, path, made = own_wheel.build(project, here.wheels)
    size = sum(wheel.size for wheel in store.wheels()) / 1e6
    click.echo(f"{len(wanted)} wheels here ({size:.0f} MB); {own.file} {'made' if made else 'unchanged'}: {path}")
    if missing:
        raise DepotError("still missing: " + ", ".join(sorted(requirement.name for requirement in missing)))


@depot.command("environments")
def list_environments() -> None:
    """Print the environments as JSON: key, manifest to build from, and the store path once it is built."""
    here, project = Depot.default(), Project.here()
    here.wheels.mkdir(parents=True, exist_ok=True)
    key = signing.load_or_make(here.signing_key, here.public_key)
    described = environments.describe(here, project)
    report = {
        "public_key": key.public,
        "expression": str(project.expression),
        "incoming": str(here.incoming),
        "environments": [
            {
                "name": environment.name,
                "key": environment.key,
                "manifest": str(environments.write_manifest(here, environment)),
                "store_path": environment.store_path,
            }
            for environment in described
        ],
        "missing": [environment.name for environment in described if environment.store_path is None],
    }
    click.echo(json.dumps(report))


@depot.command("take-in")
@click.argument("name", type=click.Choice(ENVIRONMENTS))
@click.argument("key")
@click.argument("store_path")
def take_in(name: str, key: str, store_path: str) -> None:
    """Sign and serve an environment that a builder copied into the depot's incoming directory."""
    for path in environments.take_in(Depot.default(), name, key, store_path):
        click.echo(f"signed {path}")
    click.echo(f"recorded {name} {store_path}")
