"""Thirty analyses, forecast and measured: bytes, local share, seconds and peak memory.

On a converged rack (the one that `make demo` left, by default), as the researcher alice, with a cluster of three
workers. With --here, without a rack: a scheduler and three workers of this machine on loopback addresses, and S3 from a
folder, as in the unit tests; such figures tell whether the forecast works, and nothing of a facility.

Leaves `build/bench/forecast.json`, a list of analyses with what was forecast and measured, after each one anew, and
prints the table. On a rack, the parts of the analyses that were forecast as well as promised go to
`build/bench/summary.json`. The data stays in alice's bucket for the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from analyses import ANALYSES
from datasets import STEP_BYTES
from rich.console import Console
from rich.table import Table
from summary import BENCH, add

TESTS = Path(__file__).resolve().parents[1]
for room in ("rack", "unit", "unit/compute"):
    sys.path.insert(0, str(TESTS / room))

TARGET = BENCH / "forecast.json"
WORKERS = 3
SESSION_SECONDS = 4 * 3600
BYTES_OFF, TIMES, MEMORY_TIMES = 0.05, 2.0, 1.3  # how far off a good forecast may be
SEEDS = {"a": 37.719, "b": 11.133}

Compare = Callable[[str], dict[str, Any]]
WRITE = """
for name in ("a", "b"):
    target = urls[name]
    if not fsspec.filesystem("s3").exists(target + ".made"):
        make({total_mib}, {chunk_mib}, seeds[name]).to_zarr(target, mode="w")
        fsspec.filesystem("s3").pipe_file(target + ".made", b"1")
provide_shards(urls["a"], urls["sharded"], {chunk_mib} * 2**20 // {step})
provide(urls["netcdf"], {total_mib}, {chunk_mib}, seeds["a"])
if not fsspec.filesystem("s3").exists(urls["icechunk"]):
    virtualize(urls["netcdf"].removesuffix(".json") + "-files/*.nc", urls["icechunk"], format="icechunk")
"""


def urls(options: argparse.Namespace) -> dict[str, str]:
    """Return where the datasets are: other sizes, other names."""
    root = f"s3://alice/forecast/{options.total_mib}-{options.chunk_mib}"
    names = {"a": "a.zarr", "b": "b.zarr", "sharded": "sharded.zarr", "netcdf": "files.json", "icechunk": "icechunk"}
    return {name: f"{root}/{end}" for name, end in names.items()}


def writing(options: argparse.Namespace) -> str:
    """Return the program that writes the datasets, unless they are there."""
    given = f"urls, seeds = {urls(options)!r}, {SEEDS!r}\n"
    return given + WRITE.format(total_mib=options.total_mib, chunk_mib=options.chunk_mib, step=STEP_BYTES)


@contextmanager
def on_a_rack(options: argparse.Namespace) -> Iterator[Compare]:
    """Compare in a notebook of alice's, with a cluster from the gateway."""
    from researcher import Researcher

    from appliance.demo.facility import Facility

    with ExitStack() as stack:
        researcher = stack.enter_context(Researcher(Facility(options.rack), "alice", SESSION_SECONDS))
        notebook = stack.enter_context(researcher.notebook())
        for part in ("datasets.py", "analyses.py"):
            text = (Path(__file__).parent / part).read_text()
            notebook.run(text.replace("from __future__ import annotations", "") + "\nsay()")
        notebook.run(writing(options) + "\nsay()")
        notebook.run(f"""
            import dask_gateway
            cluster = dask_gateway.Gateway().new_cluster()
            client = cluster.get_client()
            cluster.scale({WORKERS})
            client.wait_for_workers({WORKERS}, timeout=120)
            say()
        """)
        stack.callback(notebook.run, "client.close(); cluster.shutdown(); say()")
        yield lambda name: notebook.run(f"say(**compared(client, {name!r}, {urls(options)!r}))")


@contextmanager
def here(options: argparse.Namespace) -> Iterator[Compare]:
    """Compare in this process, with what the unit tests use for a cluster and for S3."""
    from dask_processes import ADDRESSES, Cluster
    from distributed import Client
    from s3_endpoint import S3Endpoint
    from table_map import TableMaps

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("s3/alice", "cluster"):
            (folder / name).mkdir(parents=True)
        keys = folder / "credentials"
        keys.write_text("[default]\naws_access_key_id = bench\naws_secret_access_key = bench\n")
        served = stack.enter_context(S3Endpoint(folder / "s3"))
        os.environ |= {
            "AWS_ENDPOINT_URL": served.url("127.0.0.1"),
            "AWS_SHARED_CREDENTIALS_FILE": str(keys),
            "AWS_DEFAULT_REGION": "default",
            "APPLIANCE_HOST": "host1",
        }
        from analyses import compared, provide_shards
        from datasets import make, provide, virtualize

        import appliance.compute.reading.placement_access as access

        access.maps = TableMaps  # type: ignore[assignment]
        import fsspec

        given = {"fsspec": fsspec, "make": make, "provide": provide, "virtualize": virtualize}
        exec(writing(options), {**given, "provide_shards": provide_shards})  # noqa: S102 - our own, as on a rack
        cluster = Cluster(folder / "cluster", served, keys, PYTHONPATH=str(Path(__file__).parent))
        stack.callback(cluster.stop)
        cluster.add_workers(*ADDRESSES, memory=2 * 2**30)
        client = stack.enter_context(Client(cluster.address))
        client.wait_for_workers(WORKERS, timeout=300)
        yield lambda name: compared(client, name, urls(options))


def ratio(row: dict[str, Any], figure: str) -> float | None:
    """Return forecast / measured, None where nothing was forecast."""
    said, measured = row["forecast"][figure], row["measured"][figure]
    return None if said is None or not measured else said / measured


def within(row: dict[str, Any], figure: str, times: float) -> bool:
    """Say whether a figure was forecast within a factor, either way."""
    found = ratio(row, figure)
    return found is not None and 1 / times <= found <= times


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return which parts of the analyses were forecast well."""
    return {
        "forecast_bytes_good": sum(abs((ratio(row, "bytes") or 0) - 1) <= BYTES_OFF for row in rows) / len(rows),
        "forecast_time_good": sum(within(row, "seconds", TIMES) for row in rows) / len(rows),
        "forecast_memory_good": sum(within(row, "memory", MEMORY_TIMES) for row in rows) / len(rows),
    }


def shown(rows: list[dict[str, Any]]) -> Table:
    """Return the analyses as a table for people."""
    table = Table(title="forecast, measured, ratio")
    table.add_column("analysis")
    for name in ("MiB", "", "", "local", "", "s", "", "", "memory MiB", "", "", "asked s"):
        table.add_column(name, justify="right")
    for row in rows:
        said, measured = row["forecast"], row["measured"]
        cells = []
        for figure, unit, form in (("bytes", 2**20, ".2f"), ("seconds", 1, ".2f"), ("memory", 2**20, ".0f")):
            found, value = ratio(row, figure), said[figure]
            least = "≥ " if said.get(f"{figure}_at_least") else ""
            cells.append("-" if value is None else least + format(value / unit, form))
            cells += [format(measured[figure] / unit, form), "-" if found is None else f"{found:.2f}"]
        shares = ["-" if share is None else f"{share:.2f}" for share in (said["local_share"], measured["local_share"])]
        table.add_row(row["analysis"], *cells[:3], *shares, *cells[3:], f"{row['forecast_seconds']:.1f}")
    return table


def main() -> None:
    """Forecast and measure the analyses that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="without a rack, on this machine alone")
    parser.add_argument("--rack", default="rack", help="the converged rack (default: rack)")
    parser.add_argument("--total-mib", type=int, help="size of a dataset in MiB (default: 512; 48 with --here)")
    parser.add_argument("--chunk-mib", type=int, help="size of a chunk in MiB (default: 8; 2 with --here)")
    parser.add_argument("--only", nargs="+", choices=list(ANALYSES), default=list(ANALYSES), metavar="ANALYSIS")
    options = parser.parse_args()
    options.total_mib = options.total_mib or (48 if options.here else 512)
    options.chunk_mib = options.chunk_mib or (2 if options.here else 8)
    if options.chunk_mib < 1 or options.total_mib < 8 * options.chunk_mib or options.total_mib % options.chunk_mib:
        parser.error("--total-mib is eight chunks or more, and whole chunks of --chunk-mib")
    rows: list[dict[str, Any]] = []
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with (here if options.here else on_a_rack)(options) as compare:
        compare(options.only[0])  # the first run of all pays for imports and connections
        for name in options.only:
            rows.append({**compare(name), "here": options.here})
            TARGET.write_text(json.dumps(rows, indent=1) + "\n")
            print(f"{len(rows)} of {len(options.only)}: {name}", file=sys.stderr)
    Console(width=160).print(shown(rows))
    good = figures(rows)
    if options.here or len(rows) < len(ANALYSES):
        print("; ".join(f"{name} {value:.2f}" for name, value in good.items()))
    else:
        add(good)


if __name__ == "__main__":
    main()
