"""A scheduler and workers as processes, each worker on a loopback address of its own that stands for a host.

Each is forked from a process that has imported what they all need: imports would be most of their work.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from s3_endpoint import S3Endpoint
from waiting import until

HERE = Path(__file__).parent
ADDRESSES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
FORKS = multiprocessing.get_context("forkserver")
# None of our own modules: what they read of the environment is each process's own.
FORKS.set_forkserver_preload(
    ["distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "dask.array", "s3fs", "xarray", "zarr"]
)


def run(role: str, arguments: tuple[str, ...], environment: dict[str, str], log: Path) -> None:
    """Be a scheduler or a worker, as its command would be."""
    os.environ.clear()
    os.environ.update(environment)
    with log.open("wb") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    dask.config.refresh()  # which has read the environment of the process that this one was forked from
    importlib.import_module(f"distributed.cli.dask_{role}").main(arguments)


class Cluster:
    """A scheduler and workers as processes; ``stop`` ends them."""

    def __init__(self, folder: Path, endpoint: S3Endpoint, credentials: Path, **environment: str):
        self.folder, self.endpoint = folder, endpoint
        self.environment = {
            **os.environ,
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": str(
                [str(HERE / "table_map.py"), "appliance.compute.scheduler_preload"]
            ),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": str([str(HERE / "table_map.py"), "appliance.compute.worker_preload"]),
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.workers: dict[str, ForkServerProcess] = {}
        address_file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler",
            *["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"],
            *["--scheduler-file", str(address_file)],
        )
        until(lambda: not self.scheduler.is_alive() or (address_file.exists() and address_file.read_text()))
        if not self.scheduler.is_alive():
            raise RuntimeError((folder / "scheduler.log").read_text())
        self.address = json.loads(address_file.read_text())["address"]

    def add_workers(self, *addresses: str, memory: int = 0) -> None:
        for address in addresses:
            self.workers[address] = self._start(
                "worker",
                self.address,
                *["--host", address, "--name", address, "--nthreads", "1", "--no-nanny", "--memory-limit", str(memory)],
                *["--no-dashboard", "--dashboard-address", f"{address}:0", "--local-directory", str(self.folder)],
                log=f"worker-{address}",
                AWS_ENDPOINT_URL=self.endpoint.url(address),
                APPLIANCE_HOST=f"host{address.rsplit('.', 1)[1]}",
            )

    def _start(self, role: str, *arguments: str, log: str = "", **environment: str) -> ForkServerProcess:
        output = self.folder / f"{log or role}.log"
        process = FORKS.Process(target=run, args=(role, arguments, {**self.environment, **environment}, output))
        process.start()
        return process

    def kill_worker(self, address: str) -> None:
        process = self.workers.pop(address)
        process.kill()
        process.join()

    def stop(self) -> None:
        # Nothing of theirs is kept, and a worker whose scheduler went first would wait for it.
        processes = [*self.workers.values(), self.scheduler]
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def field(seed: int = 1, chunks: int = 24) -> xr.Dataset:
    """Daily fields in small chunks, one object each."""
    rng = np.random.default_rng(seed)
    data = rng.normal(280.0, 5.0, size=(chunks * 10, 12, 8)).astype("f8")
    time_axis = np.datetime64("2001-01-01", "ns") + np.arange(len(data)) * np.timedelta64(1, "D")
    return xr.Dataset({"t": (("time", "y", "x"), data)}, coords={"time": time_axis})
