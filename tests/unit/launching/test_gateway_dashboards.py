"""A cluster's dashboard: whoever has its certificate gets it through the gateway's TLS proxy, and nobody else."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dask_gateway import GatewayCluster
from running_gateway import RunningGateway

from appliance.launching.protocol import unit_name

# The server ends the handshake. Whether its alert comes before the end of the connection is a matter of chance.
REFUSED = (ssl.SSLError, ConnectionError)


def context(cluster: GatewayCluster) -> ssl.SSLContext:
    found: ssl.SSLContext = cluster.security.get_connection_args("client")["ssl_context"]
    return found


def without_certificate() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def asked(address: str, tls: ssl.SSLContext, name: str, path: str = "/status") -> tuple[int, str]:
    """The status and the body that a path gets over TLS with a name."""
    url = urlsplit(address)
    with (
        socket.create_connection((url.hostname, url.port), timeout=60) as plain,
        tls.wrap_socket(plain, server_hostname=name) as own,
    ):
        own.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = http.client.HTTPResponse(own)
        answer.begin()
        return answer.status, answer.read().decode()


def fetched(url: str, token: str = "", told: object = None) -> tuple[int, str]:
    """The status and the body that a URL gets over plain HTTP; with ``told`` as JSON that is posted."""
    data = json.dumps(told).encode() if told else None
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    if token:
        request.add_header("Authorization", f"token {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def direct(running: RunningGateway, cluster: GatewayCluster) -> str:
    """The address at which the scheduler's HTTP server listens."""
    with cluster.get_client(set_as_default=False) as client:
        services = client.scheduler_info()["services"]
    (host,) = {host for host, unit in running.starts("scheduler") if cluster.name in unit}
    return f"http://{host}:{services['dashboard']}"


def test_the_owner_gets_the_dashboard_by_its_name(running: RunningGateway, cluster: GatewayCluster) -> None:
    status, page = asked(running.tls, context(cluster), f"daskgateway-{cluster.name}-dashboard")
    assert status == 200
    assert "Bokeh" in page


def test_who_has_no_certificate_gets_no_answer(running: RunningGateway, cluster: GatewayCluster) -> None:
    for address in (running.tls, direct(running, cluster)):
        with pytest.raises(REFUSED):
            asked(address, without_certificate(), f"daskgateway-{cluster.name}-dashboard")


def test_the_certificate_of_another_cluster_opens_nothing(running: RunningGateway, cluster: GatewayCluster) -> None:
    with running.gateway("mallory") as gateway, gateway.new_cluster(environment=running.environment) as other:
        theirs = without_certificate()
        report = other.gateway.get_cluster(other.name)
        files = [running.folder / f"mallory.{kind}" for kind in ("crt", "key")]
        for file, content in zip(files, (report.security.tls_cert, report.security.tls_key), strict=True):
            file.write_text(content)
        theirs.load_cert_chain(*files)
        for address in (running.tls, direct(running, cluster)):
            with pytest.raises(REFUSED):
                asked(address, theirs, f"daskgateway-{cluster.name}-dashboard")
        assert asked(running.tls, theirs, f"daskgateway-{other.name}-dashboard")[0] == 200


def test_the_proxy_for_http_knows_no_dashboard(running: RunningGateway, cluster: GatewayCluster) -> None:
    for path in ("", "/", "/status", "/metrics", "/individual-plots.json"):
        assert fetched(f"{running.address}/clusters/{cluster.name}{path}")[0] == 404
    assert fetched(f"{running.address}/api/health")[0] == 200


def test_there_is_no_listener_for_plain_http(running: RunningGateway, cluster: GatewayCluster) -> None:
    address = direct(running, cluster)
    with pytest.raises((OSError, http.client.HTTPException)):
        fetched(f"{address}/status")
    assert asked(address, context(cluster), "any.name")[0] == 200


def test_a_worker_answers_the_owner_alone(cluster: GatewayCluster) -> None:
    cluster.scale(1)
    with cluster.get_client(set_as_default=False) as client:
        client.wait_for_workers(1, timeout=60)
        (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
    address = f"http://{worker['host']}:{worker['services']['dashboard']}"
    with pytest.raises((OSError, http.client.HTTPException)):
        fetched(f"{address}/metrics")
    with pytest.raises(REFUSED):
        asked(address, without_certificate(), "any.name", "/metrics")
    status, metrics = asked(address, context(cluster), "any.name", "/metrics")
    assert status == 200
    assert "dask_worker" in metrics


def test_a_scheduler_that_names_another_target_is_refused(running: RunningGateway) -> None:
    # A cluster of its own, for which the test tells lies.
    with running.gateway("alice") as gateway, gateway.new_cluster(environment=running.environment) as cluster:
        folder: Path = running.folder / unit_name("alice", cluster.name)
        (host,) = {host for host, unit in running.starts("scheduler") if unit == folder.name}
        targets = {
            "scheduler_address": f"tls://{host}:41000",
            "dashboard_address": f"http://{host}:41001",
            "api_address": f"http://{host}:41002",
        }
        own = {**targets, "count": 0, "active_workers": [], "closing_workers": [], "closed_workers": []}
        url, token = f"{running.address}/api/v1/clusters/{cluster.name}/heartbeat", (folder / "token").read_text()
        for name, target in targets.items():
            status, said = fetched(url, token, {**own, name: target.replace(host, "127.0.0.9")})
            assert (status, name in said) == (409, True)
        assert fetched(url, token, own)[0] == 200
