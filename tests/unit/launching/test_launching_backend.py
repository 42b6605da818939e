"""The gateway with its backend, its proxy and a real client; processes stand for units (local_launcher.py)."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from dask_gateway import BasicAuth, Gateway, GatewayCluster
from dask_gateway.client import GatewayClusterError
from waiting import until

from appliance.launching.protocol import unit_name

HERE = Path(__file__).parent
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
CONFIG = """
from appliance.launching.backend import SystemdBackend, SystemdClusterConfig, cluster_options
c.DaskGateway.backend_class = SystemdBackend
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.DaskGateway.address = "127.0.0.1:{server}"
c.Proxy.address = "127.0.0.1:{http}"
c.Proxy.tcp_address = "127.0.0.1:{tls}"
c.SystemdBackend.cluster_config_class = SystemdClusterConfig
c.SystemdBackend.hosts = {hosts}
c.SystemdBackend.ssh_command = {ssh}
c.SystemdBackend.cluster_options = cluster_options([{environment!r}], memory_gib_max=4, cores_max=2)
c.SystemdBackend.cluster_heartbeat_period = 2
"""


class RunningGateway:
    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.path.realpath(sys.prefix)
        ports = {name: _free_port() for name in ("server", "http", "tls")}
        launcher = [sys.executable, str(HERE / "local_launcher.py"), str(folder), self.environment]
        hosts = {f"host{address.rsplit('.', 1)[1]}": address for address in ADDRESSES}
        (folder / "config.py").write_text(
            CONFIG.format(**ports, hosts=hosts, ssh=launcher, environment=self.environment)
        )
        self.address, self.tls = f"http://127.0.0.1:{ports['http']}", f"gateway://127.0.0.1:{ports['tls']}"
        (folder / "api-url").write_text(f"{self.address}/api")
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "dask-gateway-server"), "-f", str(folder / "config.py")],
                stdout=log,
                stderr=log,
                cwd=folder,
            )

    def gateway(self, user: str) -> Gateway:
        return Gateway(self.address, proxy_address=self.tls, auth=BasicAuth(user))

    def starts(self, kind: str) -> list[tuple[str, str]]:
        """The address and the unit of each scheduler or worker that was started, in order."""
        lines = [line.split() for line in (self.folder / "starts").read_text().splitlines()]
        return [(address, unit) for address, unit in lines if f"-{kind}" in unit]

    def pid(self, unit: str) -> int:
        return int((self.folder / unit / "pid").read_text())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for file in self.folder.glob("*/pid"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)
        # dask-gateway's clients close themselves once more as they are collected, which raises if they are closed.
        # Collected here, they disturb no later test: Python 3.11's parser fails where that happens within it.
        gc.collect()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(folder: Path) -> Iterator[RunningGateway]:
    made = RunningGateway(folder)
    try:
        _wait_for(made)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with _running(tmp_path_factory.mktemp("gateway")) as made:
        yield made


def _wait_for(made: RunningGateway) -> None:
    def ready() -> bool:
        if made.process.poll() is not None:
            raise RuntimeError((made.folder / "log").read_text())
        # The proxy answers a moment before it knows the way to the server.
        with suppress(OSError, ValueError), made.gateway("alice") as gateway:
            gateway.list_clusters()
            return True
        return False

    until(ready, (made.folder / "log").read_text)


def _hosts(cluster: GatewayCluster, wanted: int) -> list[str]:
    with cluster.get_client(set_as_default=False) as client:
        client.wait_for_workers(wanted, timeout=60)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        return sorted(worker["host"] for worker in workers)


def test_workers_are_spread_and_a_lost_one_comes_back_where_it_was(running: RunningGateway) -> None:
    with running.gateway("alice") as gateway, gateway.new_cluster(environment=running.environment) as cluster:
        cluster.scale(3)
        assert _hosts(cluster, 3) == list(ADDRESSES)
        address, lost = running.starts("worker")[1]
        os.kill(running.pid(lost), signal.SIGKILL)
        until(lambda: len(running.starts("worker")) == 4)
        assert running.starts("worker")[3][0] == address
        assert _hosts(cluster, 3) == list(ADDRESSES)
        with cluster.get_client(set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result(timeout=30) == 3
        assert running.starts("scheduler")[-1][1] == unit_name("alice", cluster.name.rpartition(".")[2])


def test_a_host_that_does_not_answer_is_passed_over(tmp_path: Path) -> None:
    # A gateway of its own: it passes the host over for a minute.
    with _running(tmp_path) as own:
        (own.folder / f"down-{ADDRESSES[0]}").touch()
        with own.gateway("bob") as gateway, gateway.new_cluster(environment=own.environment) as cluster:
            cluster.scale(2)
            assert _hosts(cluster, 2) == list(ADDRESSES[1:])


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
