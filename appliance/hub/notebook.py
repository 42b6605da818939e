"""What a researcher's notebook server is: whose it is, what it may touch, what it is told."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from appliance.hub.config import GATEWAY_PREFIX
from appliance.hub.settings import HubSettings

# Accounts below are the system's own (login.defs, UID_MIN).
FIRST_RESEARCHER_UID = 1000


class SpawnRefused(Exception):  # noqa: N818  (it is what the page says, not a fault of the program)
    """A server that is not started, with the reason that the researcher sees."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.jupyterhub_message = reason


def researcher(name: str, group: str) -> pwd.struct_passwd:
    """Return the Unix account of the hub's user ``name``, or raise `SpawnRefused`.

    The hub knows a name from its log-in, which may be long ago; what counts is the machine's account of today.
    """
    try:
        account = pwd.getpwnam(name)
        members = grp.getgrnam(group)
    except KeyError as error:
        raise SpawnRefused(f"{name} has no account in this facility, or {group} is no group here ({error}).") from error
    if account.pw_name != name or account.pw_uid < FIRST_RESEARCHER_UID:
        raise SpawnRefused(f"{name} is no researcher's account (uid {account.pw_uid}).")
    if members.gr_gid not in os.getgrouplist(name, account.pw_gid):
        raise SpawnRefused(f"{name} is not a member of the group {group}. The facility's operators can add you.")
    return account


def unit_properties(
    account: pwd.struct_passwd, environment: Path, keys: Path, settings: HubSettings
) -> dict[str, str | list[str]]:
    """Return the systemd properties of a researcher's server: read-only system, own home, own /tmp, own keys."""
    home = account.pw_dir
    examples = next(environment.glob("lib/python3.*/site-packages/appliance/demo/examples"), None)
    properties: dict[str, str | list[str]] = {
        "LoadCredential": f"s3:{keys}",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "tmpfs",
        "BindPaths": home,
        "ProtectProc": "invisible",
        "ProtectKernelTunables": "yes",
        "ProtectKernelModules": "yes",
        "ProtectKernelLogs": "yes",
        "ProtectControlGroups": "yes",
        "ProtectClock": "yes",
        "RestrictSUIDSGID": "yes",
        "RestrictRealtime": "yes",
        "LockPersonality": "yes",
        "CapabilityBoundingSet": "",
        "KeyringMode": "private",
        "UMask": "0027",
        "TasksMax": str(settings.tasks_limit),
        "MemorySwapMax": "0",
        "Description": f"Notebook server of {account.pw_name}",
    }
    if examples:
        # As the researcher, what is there is kept, and where the home is full the server starts all the same ("-").
        copy = "/usr/bin/cp --recursive --update=none --no-preserve=mode --no-target-directory"
        properties["ExecStartPre"] = f"-{copy} {examples} {home}/examples"
    return properties


def notebook_environment(unit: str, environment: Path, settings: HubSettings) -> dict[str, str]:
    """Return the variables of a researcher's server. None is secret: keys are read from the unit's credentials."""
    return {
        "PATH": f"{environment}/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "APPLIANCE_ENVIRONMENT": str(environment),
        "APPLIANCE_PLACEMENT_URL": settings.placement_url,
        "AWS_ENDPOINT_URL": settings.s3_endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_SHARED_CREDENTIALS_FILE": f"/run/credentials/{unit}.service/s3",
        "AWS_DEFAULT_REGION": "default",
        # What a server writes as it starts goes to memory, so that a full home does not keep anyone out.
        "JUPYTER_RUNTIME_DIR": f"/run/{unit}",
        # Kept by the role: what JupyterLab must not try, for there is no internet.
        "JUPYTER_CONFIG_PATH": "/etc/jupyterhub/notebook",
        "DASK_GATEWAY__ADDRESS": f"{settings.gateway_url}{GATEWAY_PREFIX}",
        "DASK_GATEWAY__PROXY_ADDRESS": settings.gateway_proxy_address,
        # Relative, so that links in the notebook open in the browser by whatever name it reached the hub.
        "DASK_GATEWAY__PUBLIC_ADDRESS": GATEWAY_PREFIX,
        "DASK_GATEWAY__AUTH__TYPE": "jupyterhub",
        "DASK_GATEWAY__CLUSTER__OPTIONS__ENVIRONMENT": str(environment),
        # JupyterLab's Dask panel starts clusters of the facility, too, and none inside the notebook's own limits.
        "DASK_LABEXTENSION__FACTORY__MODULE": "dask_gateway",
        "DASK_LABEXTENSION__FACTORY__CLASS": "GatewayCluster",
    }


def must_be_there(path: Path, what: str) -> None:
    """Raise `SpawnRefused` where ``path`` is not there; ``what`` says what it is for."""
    if not path.exists():
        raise SpawnRefused(
            f"{path}: {what} is missing on this machine. The facility's operators can run site.yml again."
        )
