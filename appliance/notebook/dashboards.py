"""The dashboards of a server's owner: which there are, and the way to each.

The gateway gives the certificate of a cluster to its owner alone, whom it knows by the hub's token of this server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from appliance.notebook.page_keys import PageKeys
from appliance.notebook.tunnel import Tunnel
from appliance.researcher.environment import dashboard_route


class NoDashboardError(Exception):
    """There is none to be shown; the message says why."""


def _gateway() -> Any:
    # Imports all of Dask, which a server without clusters does not need.
    from dask_gateway import Gateway

    return Gateway(asynchronous=True)


class Dashboards:
    """The ways to the dashboards of one researcher's clusters.

    Args:
        directory: nobody else's; sockets are made there.
        gateway: makes the client of the facility's gateway.
    """

    def __init__(self, directory: Path, gateway: Callable[[], Any] = _gateway) -> None:
        self._directory, self._make_gateway = directory, gateway
        self._gateway: Any = None
        self._tunnels: dict[str, Tunnel] = {}
        self._one_at_a_time = asyncio.Lock()
        self.keys = PageKeys()

    async def open(self, cluster: str) -> str:
        """Make the way to a cluster's dashboard, and return a key for one of its pages.

        Raises:
            NoDashboardError: the owner has no such cluster, or it does not run.
            aiohttp.ClientError: the gateway does not answer.
        """
        async with self._one_at_a_time:
            try:
                report = await self._report(cluster)
            except NoDashboardError:
                await self.close(cluster)
                raise
            if cluster not in self._tunnels:
                proxy = urlsplit(self._gateway.proxy_address)
                tunnel = Tunnel(
                    path=self._directory / f"dashboard-{cluster}",
                    host=str(proxy.hostname),
                    port=int(proxy.port or 0),
                    name=f"daskgateway-{dashboard_route(cluster)}",  # dask-gateway's own beginning of such names
                    tls=report.security.get_connection_args("client")["ssl_context"],
                )
                await tunnel.open()
                self._tunnels[cluster] = tunnel
        return self.keys.make(cluster)

    def socket(self, cluster: str) -> str:
        """Return the path of the socket that leads to a dashboard that was opened; raises `NoDashboardError`."""
        if cluster not in self._tunnels:
            raise NoDashboardError(f"the dashboard of {cluster} is not open")
        return str(self._tunnels[cluster].path)

    async def close(self, *clusters: str) -> None:
        """Take the ways to clusters' dashboards away; to all, where none is named."""
        for cluster in clusters or tuple(self._tunnels):
            if tunnel := self._tunnels.pop(cluster, None):
                await tunnel.close()

    async def _report(self, cluster: str) -> Any:
        if self._gateway is None:
            self._gateway = self._make_gateway()
        try:
            report = await self._gateway.get_cluster(cluster)
        except ValueError as error:  # dask-gateway's own for a cluster that is not known
            raise NoDashboardError(str(error)) from error
        except aiohttp.ClientResponseError as error:
            if error.status != 403:
                raise
            raise NoDashboardError(f"Cluster {cluster} is somebody else's") from error
        if report.security is None or not report.dashboard_link:
            raise NoDashboardError(f"Cluster {cluster} does not run")
        return report
