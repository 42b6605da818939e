"""The environment variables and the credentials that every unit of a researcher has, whatever runs in it.

No variable is secret: other users can read a unit's variables. Secrets are systemd credentials, files that the unit
alone can read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# The gateway of Dask clusters as the hub knows it, and the path of its API.
GATEWAY_SERVICE = "dask-gateway"
GATEWAY_PREFIX = f"/services/{GATEWAY_SERVICE}"


@dataclass(frozen=True)
class Addresses:
    """Where a process of a researcher finds the facility, as its machine sees it."""

    s3_endpoint: str
    placement_url: str


# The authorities that the machine trusts, the facility's among them (role `certificates`).
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def credential(unit: str, name: str) -> str:
    """Return the path at which a unit finds one of its credentials; ``unit`` is its full name."""
    return f"/run/credentials/{unit}/{name}"


def keys_file(directory: str, user: str) -> Path:
    """Return the file of a researcher's S3 keys. root alone can read it; a unit gets it as the credential ``s3``."""
    return Path(directory, user)


def common_environment(unit: str, environment: str, addresses: Addresses) -> dict[str, str]:
    """Return the variables that all of a researcher's units have.

    Args:
        unit: the unit's full name.
        environment: the store path that the unit runs from.
        addresses: where S3 and the placement service are.
    """
    return {
        "PATH": f"{environment}/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "APPLIANCE_ENVIRONMENT": environment,
        "APPLIANCE_PLACEMENT_URL": addresses.placement_url,
        "AWS_ENDPOINT_URL": addresses.s3_endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_DEFAULT_REGION": "default",
        # For boto3 and pyarrow, as for s3fs: objects are sent as they are, not in pieces with a checksum of Amazon's.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "AWS_SHARED_CREDENTIALS_FILE": credential(unit, "s3"),
        # By which the gateway's certificate is judged, by programs that bring authorities of their own, too.
        "SSL_CERT_FILE": AUTHORITIES,
        # Temporary directories are the unit's own memory: what a Dask worker spilled there would be held twice.
        "DASK_DISTRIBUTED__WORKER__MEMORY__TARGET": "False",
        "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
    }


def dashboard_route(cluster: str) -> str:
    """Return the name under which the gateway's TLS proxy knows the dashboard of a cluster."""
    return f"{cluster}-dashboard"


def gateway_environment(user: str, environment: str, gateway_url: str, gateway_proxy_address: str) -> dict[str, str]:
    """Return the variables with which ``dask_gateway.Gateway()`` starts clusters in the facility.

    Args:
        user: whose variables they are.
        environment: the store path that clusters run from: the notebook's own.
        gateway_url: the gateway's address, without a path.
        gateway_proxy_address: the address of its proxy to the schedulers.
    """
    return {
        "DASK_GATEWAY__ADDRESS": f"{gateway_url}{GATEWAY_PREFIX}",
        "DASK_GATEWAY__PROXY_ADDRESS": gateway_proxy_address,
        # Links to dashboards begin so: the owner's server shows them (`appliance.notebook`). Without a host, so that
        # they open in the browser by whatever name it reached the hub.
        "DASK_GATEWAY__PUBLIC_ADDRESS": f"/user/{user}/proxy",
        "DASK_GATEWAY__AUTH__TYPE": "jupyterhub",
        "DASK_GATEWAY__CLUSTER__OPTIONS__ENVIRONMENT": environment,
    }
