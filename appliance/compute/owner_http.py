"""Preload of schedulers and workers: their HTTP servers answer their owner, and nobody else.

A dashboard tells the names of tasks, stacks and logs, and Dask shows it to whoever asks. With this preload the HTTP
server of a scheduler or worker speaks TLS with the cluster's own certificate and takes no client without it, as the
connections between scheduler, workers and client do. There is no listener for plain HTTP.

Dask makes a scheduler's server while the scheduler itself is made, and a worker's as it starts. Preloads are imported
before that and set up after it, so importing this module is what does it. Where a process has no certificate, or Dask
has changed, it does not start.
"""

from __future__ import annotations

import ssl
from typing import Any

from distributed import Scheduler
from distributed.node import ServerNode

from appliance.compute import distributed_parts

if not distributed_parts.complete(__name__):
    raise ImportError("this version of Dask has no HTTP server that could be closed to others")

_start: Any = ServerNode.start_http_server


def context(node: Any) -> ssl.SSLContext:
    """Return what a scheduler or worker listens with: its own certificate, and no client without it.

    Raises:
        RuntimeError: the process has no certificate.
    """
    role = "scheduler" if isinstance(node, Scheduler) else "worker"
    found = node.security.get_listen_args(role)["ssl_context"]
    if not isinstance(found, ssl.SSLContext) or found.verify_mode is not ssl.CERT_REQUIRED:
        raise RuntimeError(f"this {role} has no certificate, so that its HTTP server would answer everybody")
    return found


def start_http_server(node: Any, routes: Any, dashboard_address: Any, default_port: int = 0) -> None:
    """Start the HTTP server of a scheduler or worker; stands in for `ServerNode.start_http_server`."""
    wanted = context(node)
    _start(node, routes, dashboard_address, default_port, ssl_options=wanted)
    # Dask's own setting of a certificate for dashboards would come before it, and asks no client for one.
    if node.http_server.ssl_options is not wanted:
        raise RuntimeError("distributed.scheduler.dashboard.tls is set: its HTTP server would answer everybody")


ServerNode.start_http_server = start_http_server  # type: ignore[method-assign,assignment]
