"""The gateway with its backend, its proxy and real clients; processes stand for units (local_launcher.py)."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dask_gateway import BasicAuth, Gateway, GatewayCluster
from free_ports import free_ports
from waiting import until

# dask-gateway's clients close themselves as they are collected, which raises if they were closed; and Python 3.11's
# parser fails where that happens within it. These tests close what they open.
for kind in (Gateway, GatewayCluster):
    del kind.__del__

HERE = Path(__file__).parent
_NUMBERS = itertools.count(os.getpid() * 8)
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
# Of what is slow because the machine is busy, nothing is given up.
c.SystemdBackend.cluster_heartbeat_timeout = 120.0
from appliance.launching.allowance import GIB, Amount
c.SystemdBackend.most = Amount(clusters=2, workers=4, cores=12, memory=24 * GIB)
"""


def _own_addresses() -> tuple[str, ...]:
    """Three of loopback that no other gateway has, in whichever process: all begin with the first port of the range."""
    number = next(_NUMBERS)
    return tuple(f"127.{1 + number // 250 % 250}.{number % 250}.{host}" for host in (1, 2, 3))


class RunningGateway:
    def __init__(self, folder: Path):
        self.folder, self.addresses = folder, _own_addresses()
        self.environment = os.path.realpath(sys.prefix)
        ports = dict(zip(("server", "http", "tls"), free_ports(3), strict=True))
        launcher = [sys.executable, str(HERE / "local_launcher.py"), str(folder), self.environment]
        hosts = {f"host{address.rsplit('.', 1)[1]}": address for address in self.addresses}
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


@contextmanager
def running_gateway(folder: Path) -> Iterator[RunningGateway]:
    made = RunningGateway(folder)
    try:
        _wait_for(made)
        yield made
    finally:
        made.stop()


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
