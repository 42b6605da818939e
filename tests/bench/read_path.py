"""How fast a process reads and writes chunks over the facility's "s3", against plain s3fs on the same endpoint.

Where ``AWS_ENDPOINT_URL`` is set (a notebook, a machine of the facility), that S3 is used, and the bucket is named:
``python tests/bench/read_path.py s3://alice/bench``. Elsewhere an HTTP server in another process stands in, which is
slower than an RGW: there, the CPU seconds of the reader tell more than the rates.

Prints a table and leaves ``build/bench/read_path.json``: for each shape, direction and arm the median of several runs,
``<direction>_<shape>_<arm>_{bytes_per_second,cpu_seconds_per_gib}`` and their ratio ours / s3fs. The arms take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from s3fs import S3FileSystem

from appliance.compute.reading.filesystem import LocalS3FileSystem

RUNS = 5
SHAPES = {"1mib": (1, 32), "8mib": (8, 8), "32mib": (32, 3)}  # MiB of an object, objects
AT_ONCE = 10  # zarr's default number of chunks in flight
ARMS = {"obstore": LocalS3FileSystem, "s3fs": S3FileSystem}
TARGET = Path("build/bench/read_path.json")
SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from s3_endpoint import S3Endpoint
print(S3Endpoint(Path(sys.argv[2])).url("127.0.0.1"), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def endpoint() -> Iterator[None]:
    """S3 in the environment: the one that is there, or a stand-in."""
    if os.environ.get("AWS_ENDPOINT_URL"):
        yield
        return
    here = Path(__file__).parents[1] / "unit" / "compute"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench").mkdir()
        command = [sys.executable, "-c", SERVER, str(here), folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            assert server.stdin
            os.environ |= {
                "AWS_ENDPOINT_URL": server.stdout.readline().strip(),
                "AWS_ACCESS_KEY_ID": "bench",
                "AWS_SECRET_ACCESS_KEY": "bench",
            }
            yield
            server.stdin.close()


def measured(files: Any, names: list[str], data: bytes | None) -> tuple[float, float]:
    """Write (or, without data, read) the objects as zarr does; seconds on the clock and of this process's CPU."""

    async def run() -> None:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> None:
            async with turn:
                await (files._cat_file(name) if data is None else files._pipe_file(name, data))

        await asyncio.gather(*map(one, names))

    clock, cpu = time.perf_counter(), time.process_time()
    fsspec.asyn.sync(files.loop, run)
    return time.perf_counter() - clock, time.process_time() - cpu


def main(prefix: str) -> None:
    figures: dict[str, float] = {}
    with endpoint():
        arms = {name: kind(skip_instance_cache=True) for name, kind in ARMS.items()}
        for shape, (mib, count) in SHAPES.items():
            names = [f"{prefix}/{shape}/{number}" for number in range(count)]
            data, gib = os.urandom(mib * 2**20), mib * count / 1024
            took: dict[tuple[str, str], list[tuple[float, float]]] = {}
            for run in range(RUNS + 1):  # the first makes the connections
                for direction, given in (("write", data), ("read", None)):
                    for arm, files in arms.items():
                        seconds = measured(files, names, given)
                        if run:
                            took.setdefault((direction, arm), []).append(seconds)
            next(iter(arms.values())).rm(names)
            for (direction, arm), runs in took.items():
                name = f"{direction}_{shape}_{arm}"
                figures[f"{name}_bytes_per_second"] = gib * 2**30 / statistics.median(run[0] for run in runs)
                figures[f"{name}_cpu_seconds_per_gib"] = statistics.median(run[1] for run in runs) / gib
            for direction in ("read", "write"):
                for figure in ("bytes_per_second", "cpu_seconds_per_gib"):
                    ours, theirs = (figures[f"{direction}_{shape}_{arm}_{figure}"] for arm in ARMS)
                    figures[f"{direction}_{shape}_{figure}_ratio"] = ours / theirs
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{'':28}{'MB/s':>10}{'CPU s/GiB':>12}")
    for name, value in figures.items():
        if name.endswith("_bytes_per_second"):
            row = name.removesuffix("_bytes_per_second")
            print(f"{row:28}{value / 1e6:10.0f}{figures[f'{row}_cpu_seconds_per_gib']:12.2f}")


if __name__ == "__main__":
    main((sys.argv[1] if len(sys.argv) > 1 else "s3://bench/read-path").removeprefix("s3://").strip("/"))
