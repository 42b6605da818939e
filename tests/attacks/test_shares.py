"""What one researcher takes of Dask clusters ends at a limit that is told, and another researcher goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import FACILITY, ask, until
from researcher import CellError, Notebook, prepared_notebook
from site_run import play

CLUSTERS = {
    "gateway_researcher_clusters_max": 2,
    "gateway_researcher_workers_max": 4,
    "gateway_researcher_cores_max": 6,
    "gateway_researcher_memory_gib_max": 8,
}
GATEWAY = """
from dask_gateway import Gateway
gateway = Gateway()
"""


@pytest.fixture(scope="module")
def alice() -> Iterator[Notebook]:
    with prepared_notebook(FACILITY, "alice", GATEWAY, "gateway.close()") as notebook:
        yield notebook


@pytest.fixture(scope="module")
def bob() -> Iterator[Notebook]:
    with prepared_notebook(FACILITY, "bob", GATEWAY, "gateway.close()") as notebook:
        yield notebook


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Small limits of clusters."""
    try:
        done = play("compute.yml", **CLUSTERS)
        assert done.status == 0, done.said[-2000:]
        yield
    finally:
        done = play("compute.yml")
        assert done.status == 0, done.said[-2000:]


@pytest.fixture
def cluster(alice: Notebook, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """Alice with a cluster of one worker, and small limits."""
    request.getfixturevalue("few")
    alice.run("""
cluster = gateway.new_cluster(worker_memory=0.5)
cluster.scale(1)
client = cluster.get_client()
client.wait_for_workers(1, timeout=120)
""")
    yield alice
    alice.run("client.close()\ncluster.shutdown()")


def test_clusters_end_at_the_limit(cluster: Notebook, bob: Notebook) -> None:
    cluster.run("second = gateway.submit()")
    try:
        with pytest.raises(CellError, match="You have 2 clusters, and 2 is the most of one researcher"):
            cluster.run("gateway.submit()")
        bob.run("gateway.stop_cluster(gateway.submit())")
    finally:
        cluster.run("gateway.connect(second).close()\ngateway.stop_cluster(second)")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("options", "count", "left"),
    [
        ("worker_memory=0.5", 5, 4),  # workers
        ("worker_memory=0.5, worker_cores=2", 3, 2),  # cores: 6 less the scheduler's, by 2
        ("worker_memory=4", 2, 1),  # memory: 8 GiB less the scheduler's 2
    ],
)
def test_workers_cores_and_memory_end_at_the_limit(
    alice: Notebook, bob: Notebook, options: str, count: int, left: int
) -> None:
    alice.run(f"cluster = gateway.new_cluster({options})")
    try:
        with pytest.raises(CellError, match=rf"this cluster can have {left}\. All clusters of one researcher"):
            alice.run(f"cluster.scale({count})")
        with pytest.raises(CellError, match=rf"this cluster can have {left}\. All clusters of one researcher"):
            alice.run(f"cluster.adapt(minimum={count}, maximum={count})")
        bob.run("name = gateway.submit()\ngateway.connect(name).close()\ngateway.stop_cluster(name)")
    finally:
        alice.run("cluster.shutdown()")


@pytest.mark.long
def test_a_scheduler_that_asks_for_more_by_itself_gets_no_more(cluster: Notebook) -> None:
    """It is the researcher's own program, and has the token with which it reports to the gateway."""
    cluster.run("""
def report(count, dask_scheduler):
    import json, os, urllib.request
    from urllib.parse import urlsplit
    url = f"{os.environ['DASK_GATEWAY_API_URL']}/v1/clusters/{os.environ['DASK_GATEWAY_CLUSTER_NAME']}/heartbeat"
    token = open(os.environ["DASK_GATEWAY_API_TOKEN"]).read()
    own = urlsplit(dask_scheduler.address).hostname
    body = {"count": count, "active_workers": [], "closing_workers": [], "closed_workers": [], "dashboard_address": "",
            "scheduler_address": dask_scheduler.address, "api_address": f"http://{own}:60000"}
    asked = urllib.request.Request(url, json.dumps(body).encode(), method="POST",
                                   headers={"Authorization": f"token {token}", "Content-Type": "application/json"})
    return urllib.request.urlopen(asked, timeout=30).status
""")
    name = cluster.run("say(name=cluster.name)")["name"]
    assert cluster.run("say(status=client.run_on_scheduler(report, 50))")["status"] == 200
    # It was heard, as far as the limit goes. A moment later the scheduler reports what it really wants.
    journal = f"journalctl --unit dask-gateway --no-pager --output cat | grep {name}"
    until(lambda: "heartbeat [count: 1," in ask("head1", journal).partition("heartbeat [count: 4,")[2])
    assert "heartbeat [count: 50," not in ask("head1", journal)
    assert ask("head1", journal).count("Created worker") == 4
