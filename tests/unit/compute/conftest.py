"""A real scheduler and real workers, each worker on a loopback address of its own that stands for a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

sys.path.insert(0, str(Path(__file__).parent))
from s3_endpoint import S3Endpoint

HERE = Path(__file__).parent
ADDRESSES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
SECRET = "canary-secret-of-the-tests"


class Cluster:
    """A scheduler and workers as processes; ``stop`` ends them."""

    def __init__(self, folder: Path, endpoint: S3Endpoint, credentials: Path, **environment: str):
        self.folder, self.endpoint = folder, endpoint
        self.environment = {
            **os.environ,
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": str([str(HERE / "table_map.py"), "appliance.compute.plugin"]),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": str([str(HERE / "table_map.py"), "appliance.compute.worker"]),
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        address_file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler",
            *["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"],
            *["--scheduler-file", str(address_file)],
        )
        deadline = time.monotonic() + 60
        while not address_file.exists() or not address_file.read_text():
            if self.scheduler.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "scheduler.log").read_text())
            time.sleep(0.05)
        self.address = json.loads(address_file.read_text())["address"]

    def add_workers(self, *addresses: str) -> None:
        for address in addresses:
            self.workers[address] = self._start(
                "worker",
                self.address,
                *["--host", address, "--name", address, "--nthreads", "1", "--no-nanny", "--memory-limit", "0"],
                *["--no-dashboard", "--dashboard-address", f"{address}:0", "--local-directory", str(self.folder)],
                log=f"worker-{address}",
                AWS_ENDPOINT_URL=self.endpoint.url(address),
                APPLIANCE_HOST=f"host{address.rsplit('.', 1)[1]}",
            )

    def _start(self, role: str, *arguments: str, log: str = "", **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log or role}.log").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments],
                env={**self.environment, **environment},
                stdout=output,
                stderr=output,
            )

    def kill_worker(self, address: str) -> None:
        process = self.workers.pop(address)
        process.kill()
        process.wait()

    def stop(self) -> None:
        # Nothing of theirs is kept, and a worker whose scheduler went first would wait for it.
        processes = [*self.workers.values(), self.scheduler]
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "credentials"
    file.write_text(f"[default]\naws_access_key_id = canary-key\naws_secret_access_key = {SECRET}\n")
    return file


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory, credentials: Path) -> Iterator[S3Endpoint]:
    """The S3 endpoint, which this process reaches as 127.0.0.1, a host that holds nothing."""
    served = S3Endpoint(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", served.url("127.0.0.1"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        patch.setenv("APPLIANCE_HOST", "host1")
        yield served
    served.close()


def field(seed: int = 1, chunks: int = 24) -> xr.Dataset:
    """Daily fields in small chunks, one object each."""
    rng = np.random.default_rng(seed)
    data = rng.normal(280.0, 5.0, size=(chunks * 10, 12, 8)).astype("f8")
    time_axis = np.datetime64("2001-01-01", "ns") + np.arange(len(data)) * np.timedelta64(1, "D")
    return xr.Dataset({"t": (("time", "y", "x"), data)}, coords={"time": time_axis})


@pytest.fixture(scope="session")
def dataset(endpoint: S3Endpoint) -> str:  # noqa: ARG001  # written through it
    """The URL of a Zarr dataset of 24 chunks on the endpoint."""
    field().chunk(time=10).to_zarr("s3://alice/field.zarr", mode="w")
    return "s3://alice/field.zarr"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, endpoint: S3Endpoint, credentials: Path) -> Iterator[Cluster]:
    """Three hosts with one worker each."""
    with ExitStack() as stack:
        made = Cluster(tmp_path_factory.mktemp("cluster"), endpoint, credentials)
        stack.callback(made.stop)
        made.add_workers(*ADDRESSES)
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(cluster.address) as made:
        made.wait_for_workers(len(ADDRESSES), timeout=60)
        yield made


@pytest.fixture
def new_cluster(tmp_path: Path, endpoint: S3Endpoint, credentials: Path) -> Iterator[object]:
    """Makes clusters for tests that break them: ``new_cluster(*addresses, **environment)``."""
    with ExitStack() as stack:

        def make(*addresses: str, **environment: str) -> Cluster:
            folder = tmp_path / f"cluster-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            made = Cluster(folder, endpoint, credentials, **environment)
            stack.callback(made.stop)
            made.add_workers(*addresses)
            return made

        yield make
