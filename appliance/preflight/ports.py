"""The ports that the facility listens on, and whose they are once it runs."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Listener:
    """A port of one role. ``variable`` names it in the inventory, ``port`` is what it is where nothing else is said.

    ``units``: prefixes of the systemd units that may hold it.
    """

    what: str
    group: str
    variable: str
    port: int
    units: tuple[str, ...]


LISTENERS = (
    Listener("the S3 gateway", "ceph_rgw", "ceph_rgw_port", 7480, ("ceph-radosgw@",)),
    Listener("the S3 endpoint", "all", "s3_endpoint_port", 7481, ("haproxy",)),
    Listener("the S3 endpoint's figures", "all", "s3_endpoint_metrics_port", 7482, ("haproxy",)),
    Listener("the placement service's address", "all", "s3_endpoint_placement_port", 7483, ("haproxy",)),
    Listener("the placement service", "placement", "placement_port", 7600, ("appliance-placement", "placement")),
    Listener("JupyterHub", "jupyterhub", "jupyterhub_public_port", 8000, ("jupyterhub-proxy",)),
    Listener("JupyterHub's proxy", "jupyterhub", "jupyterhub_proxy_api_port", 8001, ("jupyterhub-proxy",)),
    Listener("JupyterHub's inner listener", "jupyterhub", "jupyterhub_hub_port", 8081, ("jupyterhub",)),
    Listener("the Dask gateway", "gateway", "gateway_server_port", 8002, ("dask-gateway", "gateway")),
    Listener("the Dask gateway's web proxy", "gateway", "gateway_http_port", 8003, ("dask-gateway", "gateway")),
    Listener(
        "the Dask gateway's scheduler proxy", "gateway", "gateway_scheduler_port", 8786, ("dask-gateway", "gateway")
    ),
)
