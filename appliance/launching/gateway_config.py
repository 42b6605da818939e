"""dask-gateway-server's configuration, made of the site's settings (role `gateway` writes both).

Every value is set, none is appended to or mutated. Secrets come as systemd credentials.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from appliance.launching.allowance import Amount
from appliance.launching.backend import GIB, SystemdBackend, SystemdClusterConfig, cluster_options
from appliance.launching.gateway_settings import GatewaySettings
from appliance.researcher.environment import GATEWAY_PREFIX, GATEWAY_SERVICE


def configure(c: Any, settings: GatewaySettings, credentials: Path, state: Path, runtime: Path) -> None:
    """Set dask-gateway-server's configuration object ``c``.

    Args:
        c: the configuration object.
        settings: the site's.
        credentials: holds the machine's certificate ``machine.pem`` with ``machine.pem.key``.
        state: the service's own directory: database, its key, and the ssh key.
        runtime: for the sockets of standing ssh connections.
    """
    c.DaskGateway.backend_class = SystemdBackend
    c.DaskGateway.address = f"127.0.0.1:{settings.server_port}"
    c.DaskGateway.authenticator_class = "dask_gateway_server.auth.JupyterHubAuthenticator"
    c.JupyterHubAuthenticator.jupyterhub_api_url = settings.hub_api_url
    c.JupyterHubAuthenticator.jupyterhub_service_name = GATEWAY_SERVICE
    # Who was locked at the hub is let in no longer than so.
    c.JupyterHubAuthenticator.cache_max_age = 30

    c.Proxy.address = f":{settings.http_port}"
    c.Proxy.tls_cert, c.Proxy.tls_key = (str(credentials / name) for name in ("machine.pem", "machine.pem.key"))
    c.Proxy.tcp_address = f":{settings.scheduler_port}"
    c.Proxy.prefix = GATEWAY_PREFIX

    # Clusters outlive a restart of the gateway: it finds them in its database, whose secrets are encrypted.
    c.SystemdBackend.db_url = f"sqlite:///{state}/gateway.sqlite"
    c.SystemdBackend.db_encrypt_keys = [_key(state / "database-key")]
    c.SystemdBackend.stop_clusters_on_shutdown = False
    c.SystemdBackend.api_url = f"{settings.url}{GATEWAY_PREFIX}/api"
    c.SystemdBackend.cluster_heartbeat_period = settings.heartbeat_period
    # A scheduler may be busy with a large graph for a while; that is no reason to take it away.
    c.SystemdBackend.cluster_heartbeat_timeout = 120.0
    c.SystemdBackend.hosts = settings.hosts
    c.SystemdBackend.ssh_command = _ssh(settings.ssh_port, state, runtime)

    c.SystemdBackend.cluster_config_class = SystemdClusterConfig
    c.SystemdClusterConfig.scheduler_memory = int(settings.scheduler_memory_gib * GIB)
    c.SystemdClusterConfig.cluster_max_workers = settings.workers_max
    c.SystemdBackend.most = Amount(
        clusters=settings.researcher_clusters_max,
        workers=settings.researcher_workers_max,
        cores=settings.researcher_cores_max,
        memory=int(settings.researcher_memory_gib_max * GIB),
    )
    c.SystemdClusterConfig.idle_timeout = float(settings.idle_timeout)
    c.SystemdBackend.cluster_options = cluster_options(
        list(settings.environments),
        memory_gib_max=settings.worker_memory_gib_max,
        cores_max=settings.worker_cores_max,
        memory_gib=settings.worker_memory_gib,
        cores=settings.worker_cores,
    )


def _ssh(port: int, state: Path, runtime: Path) -> list[str]:
    options = {
        "Port": str(port),
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": "/etc/dask-gateway/known_hosts",
        "ConnectTimeout": "5",
        "ServerAliveInterval": "5",
        # A standing connection to each host: the second launch does without a handshake.
        "ControlMaster": "auto",
        "ControlPath": f"{runtime}/%C",
        "ControlPersist": "300",
    }
    return [
        *["ssh", "-F", "none", "-T", "-l", "root", "-i", f"{state}/.ssh/id_ed25519"],
        *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
    ]


def _key(path: Path) -> str:
    """The database's key, made on first use. In the state directory, which is the service's alone."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(32)))
    return path.read_text().strip()
