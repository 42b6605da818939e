"""The gateway with its backend, its proxy and a real client; processes stand for units (local_launcher.py)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from dask_gateway import Gateway, GatewayCluster
from dask_gateway.client import GatewayClusterError
from running_gateway import RunningGateway, running_gateway
from waiting import until

from appliance.launching.protocol import unit_name


def _hosts(cluster: GatewayCluster, wanted: int) -> list[str]:
    with cluster.get_client(set_as_default=False) as client:
        client.wait_for_workers(wanted, timeout=60)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        return sorted(worker["host"] for worker in workers)


def workers(running: RunningGateway, cluster: GatewayCluster) -> list[tuple[str, str]]:
    """The address and the unit of each worker of a cluster that was started, in order."""
    return [(address, unit) for address, unit in running.starts("worker") if cluster.name in unit]


def test_workers_are_spread_and_a_lost_one_comes_back_where_it_was(running: RunningGateway) -> None:
    with running.gateway("alice") as gateway, gateway.new_cluster(environment=running.environment) as cluster:
        cluster.scale(3)
        assert _hosts(cluster, 3) == list(running.addresses)
        address, lost = workers(running, cluster)[1]
        os.kill(running.pid(lost), signal.SIGKILL)
        until(lambda: len(workers(running, cluster)) == 4)
        assert workers(running, cluster)[3][0] == address
        assert _hosts(cluster, 3) == list(running.addresses)
        with cluster.get_client(set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result(timeout=30) == 3
        assert running.starts("scheduler")[-1][1] == unit_name("alice", cluster.name.rpartition(".")[2])


def test_a_host_that_does_not_answer_is_passed_over(tmp_path: Path) -> None:
    # A gateway of its own: it passes the host over for a minute.
    with running_gateway(tmp_path) as own:
        (own.folder / f"down-{own.addresses[0]}").touch()
        with own.gateway("bob") as gateway, gateway.new_cluster(environment=own.environment) as cluster:
            cluster.scale(2)
            assert _hosts(cluster, 2) == list(own.addresses[1:])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"environment": "/nix/store/of-another-day"}, "environment /nix/store/of-another-day is not one of"),
        ({}, r"environment \(none\) is not one of"),
        ({"environment": "", "worker_memory": 5.0}, "worker_memory"),
        ({"environment": "", "worker_cores": 3}, "worker_cores"),
    ],
)
def test_what_the_facility_does_not_offer_is_refused_in_the_notebook(
    running: RunningGateway, options: dict[str, object], says: str
) -> None:
    with running.gateway("alice") as gateway, pytest.raises((GatewayClusterError, ValueError), match=says):
        gateway.submit(**options)


def test_clusters_are_the_users_own(running: RunningGateway) -> None:
    with running.gateway("alice") as alice, running.gateway("mallory") as mallory:
        name = alice.submit(environment=running.environment)
        try:
            # A scheduler that is still on its way when the gateway ends would be left behind.
            alice.connect(name).close()
            assert name not in [report.name for report in mallory.list_clusters()]
            with pytest.raises(Exception, match=r"403|404|not|Forbidden"):
                mallory.get_cluster(name)
        finally:
            alice.stop_cluster(name)


def test_a_researchers_clusters_have_limits_together_and_anothers_are_their_own(running: RunningGateway) -> None:
    with (
        running.gateway("carol") as carol,
        running.gateway("dave") as dave,
        carol.new_cluster(environment=running.environment) as first,
    ):
        first.scale(1)
        assert len(_hosts(first, 1)) == 1
        name = carol.submit(environment=running.environment)
        with pytest.raises(ValueError, match="You have 2 clusters, and 2 is the most of one researcher"):
            carol.submit(environment=running.environment)
        with carol.connect(name, shutdown_on_close=True) as second:
            with pytest.raises(GatewayClusterError, match=r"this cluster can have 3\."):
                second.scale(4)
            with pytest.raises(GatewayClusterError, match=r"this cluster can have 3\."):
                second.adapt(minimum=4, maximum=4)
            second.scale(3)
            assert len(_hosts(second, 3)) == 3
            assert allowance(carol) == {
                "used": {"clusters": 2, "workers": 4, "cores": 6, "memory": 12 * 2**30},
                "most": {"clusters": 2, "workers": 4, "cores": 12, "memory": 24 * 2**30},
            }
        # The control: what one has takes nothing from another.
        assert allowance(dave)["used"] == {"clusters": 0, "workers": 0, "cores": 0, "memory": 0}
        with dave.new_cluster(environment=running.environment) as other:
            other.scale(4)
            assert len(_hosts(other, 4)) == 4


def allowance(gateway: Gateway) -> Any:
    async def ask() -> Any:
        answer = await gateway._request("GET", f"{gateway.address}/api/v1/allowance")
        return await answer.json()

    return gateway.sync(ask)
