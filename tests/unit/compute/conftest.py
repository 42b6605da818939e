"""A real scheduler and real workers, each worker on a loopback address of its own that stands for a host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from dask_processes import ADDRESSES, Cluster, field
from distributed import Client
from s3_endpoint import S3Endpoint


@pytest.fixture(scope="module")
def dataset(endpoint: S3Endpoint) -> str:  # noqa: ARG001  # written through it
    """The URL of a Zarr dataset of 24 chunks on the endpoint."""
    field().chunk(time=10).to_zarr("s3://alice/field.zarr", mode="w")
    return "s3://alice/field.zarr"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, endpoint: S3Endpoint, credentials: Path) -> Iterator[Cluster]:
    """Three hosts with one worker each, which wait for tasks of their own for as long as there are any."""
    with ExitStack() as stack:
        made = Cluster(tmp_path_factory.mktemp("cluster"), endpoint, credentials, TABLE_MAP_PATIENT="1")
        stack.callback(made.stop)
        made.add_workers(*ADDRESSES)
        yield made


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client(cluster.address) as made:
        made.wait_for_workers(len(ADDRESSES), timeout=300)
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
