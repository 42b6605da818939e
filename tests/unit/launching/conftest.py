"""A gateway for each module of tests, and a cluster of alice's on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dask_gateway import GatewayCluster
from running_gateway import RunningGateway, running_gateway


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(running: RunningGateway) -> Iterator[GatewayCluster]:
    with running.gateway("alice") as gateway, gateway.new_cluster(environment=running.environment) as made:
        yield made
