"""``appliance where`` and ``appliance placement serve``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import click

from appliance.placement.auth.machine_settings import SETTINGS, own_keys, setting
from appliance.placement.client.listing import ListingError, S3Object, list_objects
from appliance.placement.client.map_client import URL_VARIABLE, MapClient
from appliance.placement.client.ranges import Ranges
from appliance.placement.client.tally import Placed, Tally, notes, records
from appliance.placement.errors import PlacementError
from appliance.placement.model.placement_map import PlacementMap
from appliance.placement.model.s3_address import S3Address

PAGE = 10_000  # keys of a file placed at once


@click.command()
@click.argument("url", metavar="s3://BUCKET[/PREFIX]")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line for each S3 object, instead of the table."
)
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Also write a picture (PNG).")
@click.option(
    "--keys-from",
    type=click.File("r", encoding="utf-8"),
    help="Place the keys in this file (one a line; - is standard input) instead of listing the bucket.",
)
@click.option(
    "--null", "-0", is_flag=True, help="Keys in --keys-from end in a NUL byte, since a key may hold a newline."
)
@click.option(
    "--placement-url",
    default=lambda: setting(URL_VARIABLE),
    show_default=f"${URL_VARIABLE}",
    help=f"The placement service; on the facility's machines {SETTINGS} names it.",
)
def where(
    url: str, as_json: bool, picture: Path | None, keys_from: IO[str] | None, null: bool, placement_url: str | None
) -> None:
    """Show which hosts hold the objects under an S3 prefix.

    Listing, and proof to the placement service of who asks, use the S3 endpoint and keys of the environment:
    AWS_ENDPOINT_URL and AWS_SHARED_CREDENTIALS_FILE.
    """
    if not placement_url:
        raise click.UsageError(f"{URL_VARIABLE} is not set: on the facility's machines it stands in {SETTINGS}")
    try:
        address = S3Address.parse(url)
        bucket, prefix = address.bucket, address.key
        # A listing comes first: it tells a missing bucket from one that the service has not seen yet.
        pages = _from_file(keys_from, prefix, null) if keys_from else list_objects(bucket, prefix)
        first = next(pages, [])
        maps = MapClient(placement_url, timeout=30.0, keys=lambda: own_keys(bucket))
        cluster_map = maps.get(bucket)
        if not cluster_map.holds(bucket):
            known = ", ".join(sorted(cluster_map.buckets)) or "none"
            raise ListingError(
                f"the cluster's map of epoch {cluster_map.epoch} has no bucket {bucket!r}; it has: {known}"
            )
        if not first:
            raise ListingError(f"no object's key begins with {prefix!r} in bucket {bucket!r}: nothing to place")
        if cluster_map.bucket(bucket).versioned and not keys_from:
            pages = list_objects(bucket, prefix, versions=True)
            first = next(pages, [])
        layouts = Ranges(maps, look_up=lambda _, keys: [None] * len(keys)).layouts
        tally, primaries = Tally(cluster_map, bucket, layouts), []
        for page in _watched(_chained(first, pages)):
            placed = tally.add(page)
            if as_json:
                _write(records(cluster_map, bucket, placed))
            if picture:
                primaries += [_begins_at(cluster_map, one) for one in placed]
    except (PlacementError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if not as_json:
        _print_table(tally, url, sizes_known=keys_from is None)
    if picture:
        _plot(tally, primaries, url, picture)


def _begins_at(cluster_map: PlacementMap, placed: Placed) -> str:
    """Return the host that is primary for an object's first bytes, or an empty text."""
    if not placed.pieces:
        return ""
    piece, pg = placed.pieces[0]
    return next(iter(cluster_map.pg_hosts(cluster_map.pools[piece.pool])[pg]), "")


def _from_file(source: IO[str], prefix: str, null: bool) -> Iterator[list[S3Object]]:
    keys = source.read().split("\0" if null else "\n")
    if keys and not keys[-1]:
        keys.pop()  # what follows the last terminator
    chosen = [S3Object(key, 0) for key in keys if key.startswith(prefix)]
    for start in range(0, len(chosen), PAGE):
        yield chosen[start : start + PAGE]


def _chained(first: list[S3Object], rest: Iterator[list[S3Object]]) -> Iterator[list[S3Object]]:
    yield first
    yield from rest


def _watched(pages: Iterable[list[S3Object]]) -> Iterator[list[S3Object]]:
    """Show progress on a terminal: S3 tells nobody beforehand how many objects a prefix has."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} objects placed"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None)
        for page in pages:
            yield page
            progress.advance(task, len(page))


def _write(lines: Iterable[dict[str, object]]) -> None:
    sys.stdout.writelines(json.dumps(line) + "\n" for line in lines)


def _print_table(tally: Tally, url: str, sizes_known: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    cluster_map: PlacementMap = tally.map
    pool = cluster_map.pool_of(tally.bucket)
    table = Table()
    table.add_column("host")
    headings = (
        ["primary of", "share", "bytes", "any replica", "bytes"]
        if sizes_known
        else ["primary of", "share", "any replica"]
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for share in tally.shares():
        cells = [f"{share.primary_objects:,}", f"{share.primary_objects / tally.objects:.1%}"]
        cells += [_size(share.primary_bytes)] if sizes_known else []
        cells += [f"{share.objects:,}"]
        cells += [_size(share.bytes)] if sizes_known else []
        table.add_row(share.host, *cells)
    console = Console()
    total = f", {_size(tally.bytes)}" if sizes_known else ""
    heading = f"{url}: {tally.objects:,} objects{total}, pool {pool.name}, map of epoch {cluster_map.epoch}"
    # Names of buckets and keys are not markup, and a line that is cut or coloured is harder to use.
    console.print(heading, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    for note in notes(tally):
        console.print(note, markup=False, highlight=False)


def _plot(tally: Tally, primaries: list[str], url: str, picture: Path) -> None:
    try:
        from appliance.placement.client.plot import plot

        plot(tally, primaries, url, picture)
    except ImportError as error:
        raise click.ClickException(
            f"--plot needs {error.name}, which this environment lacks: use the command of the environment `analysis`"
        ) from error
    except OSError as error:
        raise click.ClickException(f"--plot {picture}: {error.strerror or error}") from error


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


@click.group()
def placement() -> None:
    """The service that hands out the cluster's map."""


@placement.command()
@click.option("--listen", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", required=True, type=click.IntRange(1, 65535))
@click.option("--certificate", type=click.Path(path_type=Path), help="Serve over TLS with it (PEM); else plain HTTP.")
@click.option("--key", type=click.Path(path_type=Path), help="The certificate's key (PEM).")
@click.option("--ceph-id", default="placement", show_default=True, help="Ceph user, without `client.`.")
@click.option("--conf", default="/etc/ceph/ceph.conf", show_default=True, type=click.Path(path_type=Path))
@click.option("--keyring", required=True, type=click.Path(path_type=Path), help="The Ceph user's key.")
@click.option("--s3-endpoint", required=True, help="The object gateway.")
@click.option(
    "--s3-credentials",
    required=True,
    type=click.Path(path_type=Path),
    help="Keys (AWS credentials file) of an S3 user with the capability buckets=read.",
)
@click.option(
    "--data-pool", "data_pools", multiple=True, required=True, metavar="RULE=POOL", help="Pool of a placement rule."
)
@click.option("--chunk-bytes", required=True, type=click.IntRange(1), help="RGW's rgw_max_chunk_size.")
@click.option("--interval", default=3.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between looks.")
@click.option("--python", default="/usr/bin/python3", show_default=True, help="The Python with Ceph's bindings.")
@click.option(
    "--layouts-socket",
    default="/run/appliance-layouts/socket",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where `appliance placement read-layouts` listens.",
)
def serve(
    listen: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    ceph_id: str,
    conf: Path,
    keyring: Path,
    s3_endpoint: str,
    s3_credentials: Path,
    data_pools: tuple[str, ...],
    chunk_bytes: int,
    interval: float,
    python: str,
    layouts_socket: Path,
) -> None:
    """Serve the cluster's map over HTTP until stopped."""
    import asyncio
    import logging
    import ssl

    from appliance.placement.auth.sigv4 import Keys
    from appliance.placement.service.app import PlacementService
    from appliance.placement.service.authentication import Authenticator
    from appliance.placement.service.ceph_monitors import CephClientOptions, Monitors
    from appliance.placement.service.layout_lookup import LayoutLookup, ManifestSocket
    from appliance.placement.service.map_refresher import MapRefresher
    from appliance.placement.service.rgw_admin import RgwAdmin

    logging.basicConfig(level=logging.INFO, format="%(message)s")  # the journal adds time and name
    pools = dict(entry.split("=", 1) for entry in data_pools if "=" in entry)
    if len(pools) != len(data_pools):
        raise click.BadParameter(
            f"{data_pools} are not all of the form RULE=POOL, each rule once", param_hint="--data-pool"
        )
    try:
        for path in (conf, keyring):
            path.read_bytes()
        keys = Keys.from_file(s3_credentials)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    except PlacementError as error:
        raise click.ClickException(str(error)) from error
    try:
        rgw, authenticator = RgwAdmin(s3_endpoint, keys, pools), Authenticator(s3_endpoint)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--s3-endpoint") from error
    refresher = MapRefresher(Monitors(CephClientOptions(ceph_id, conf, keyring, python)), rgw, chunk_bytes)
    layouts = LayoutLookup(ManifestSocket(layouts_socket), pools)
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key: give both, or neither")
    tls = None
    if certificate and key:
        try:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(certificate, key)
        except OSError as error:
            raise click.ClickException(f"{certificate}, {key}: {error}") from error
    service = PlacementService(refresher, layouts, authenticator, interval, tls=tls)
    try:
        asyncio.run(service.run(listen, port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {listen}:{port}: {error.strerror}") from error


@placement.command("read-layouts")
@click.option("--ceph-id", default="layouts", show_default=True, help="Ceph user, without `client.`.")
@click.option("--conf", default="/etc/ceph/ceph.conf", show_default=True)
@click.option("--keyring", required=True, help="The Ceph user's key.")
@click.option("--python", default="/usr/bin/python3", show_default=True, help="The Python with Ceph's bindings.")
def read_layouts(ceph_id: str, conf: str, keyring: str, python: str) -> None:
    """Hand out objects' manifests on standard input and output, as a unit behind a socket does."""
    script = Path(__file__).with_name("service") / "rados_helpers/manifest_reader.py"
    options = ["--id", ceph_id, "--conf", conf, "--keyring", keyring, "--timeout", "10"]
    try:
        # Another Python takes this one's place: Ceph's bindings are compiled for that. -I as in ceph_monitors.Monitors.
        os.execv(python, [python, "-I", str(script), *options])  # noqa: S606
    except OSError as error:
        raise click.ClickException(f"{python}: {error.strerror}") from error
