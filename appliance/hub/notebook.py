"""What a researcher's notebook server is: whose it is, what it may touch, what it is told."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from appliance.hub.settings import HubSettings
from appliance.researcher.account import NotAResearcherError, researcher_account
from appliance.researcher.environment import Addresses, common_environment, gateway_environment
from appliance.researcher.sandbox import SANDBOX, temporary_files

# Stands for a server's port in its unit's properties. No variable: systemd puts none in any more once it has read its
# units anew.
PORT = "@PORT@"


class SpawnRefused(Exception):  # noqa: N818  (it is what the page says, not a fault of the program)
    """A server that is not started, with the reason that the researcher sees."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.jupyterhub_message = reason


def researcher(name: str, settings: HubSettings) -> pwd.struct_passwd:
    """Return the Unix account of the hub's user ``name``, or raise `SpawnRefused`.

    The hub knows a name from its log-in, which may be long ago; what counts is the machine's account of today.
    """
    group = settings.researchers_group
    try:
        account = researcher_account(name, settings.uid_min, settings.uid_max)
        members = grp.getgrnam(group)
    except NotAResearcherError as error:
        raise SpawnRefused(f"The account {error}.") from error
    except KeyError as error:
        raise SpawnRefused(f"{group} is no group on this machine.") from error
    if members.gr_gid not in os.getgrouplist(name, account.pw_gid):
        raise SpawnRefused(f"{name} is not a member of the group {group}. The facility's operators can add you.")
    return account


def unit_properties(
    account: pwd.struct_passwd, environment: Path, keys: Path, settings: HubSettings, groups: Iterable[str] = ()
) -> dict[str, str | list[str]]:
    """Return the systemd properties of a researcher's server: the common sandbox, with the researcher's own home.

    Args:
        account: the researcher's.
        environment: the store path that the server runs from.
        keys: the file of the researcher's S3 keys.
        settings: the hub's.
        groups: what a provider says that the researcher belongs to, beside the account's own; those of this machine
            count.
    """
    home = account.pw_dir
    examples = next(environment.glob("lib/python3.*/site-packages/appliance/demo/examples"), None)
    prepared = [f"-+{_nft(_port_is(account.pw_uid))}"]
    if examples:
        # As the researcher, what is there is kept, and where the home is full the server starts all the same ("-").
        copy = "/usr/bin/cp --recursive --update=none --no-preserve=mode --no-target-directory"
        prepared.append(f"-{copy} {examples} {home}/examples")
    return {
        **SANDBOX,
        "Description": f"Notebook server of {account.pw_name}",
        "LoadCredential": f"s3:{keys}",
        "ProtectHome": "tmpfs",
        "BindPaths": home,
        "UMask": "0027",
        "TemporaryFileSystem": temporary_files(settings.temporary_limit),
        # Beyond the limit of memory a kernel is ended, and not the server with all the others.
        "OOMPolicy": "continue",
        # Who does not end when asked is ended: a locked researcher has nothing running after a minute.
        "TimeoutStopSec": "20",
        "TasksMax": str(settings.tasks_limit),
        "SupplementaryGroups": " ".join(sorted({*groups} & {entry.gr_name for entry in grp.getgrall()})),
        "ExecStartPre": prepared,
        "ExecStopPost": [f"-+{_nft(_port_is(account.pw_uid, kept='timeout 2m'))}"],
    }


def _port_is(uid: int, kept: str = "") -> str:
    """Return what tells nft whose the server's port is: for good, or for as long as ``kept`` says.

    The hub sends browsers to the port until it has noticed that a server ended, which takes it half a minute: so long
    nobody else may answer there. An element that is there is taken out first, or it would keep its old time.
    """
    told = []
    for name, element in (("server_ports", PORT), ("servers", f"{PORT} . {uid}")):
        where = f"element inet appliance_listeners {name}"
        told += [f"add {where} {{ {element} }}", f"delete {where} {{ {element} }}"]
        told += [f"add {where} {{ {element} {kept} }}"]
    return "; ".join(told)


def _nft(told: str) -> str:
    """Return the command that changes the sets of role `own_listeners`; the spawner puts the port in."""
    return f"/usr/sbin/nft '{told}'"


def notebook_environment(user: str, unit: str, environment: Path, settings: HubSettings) -> dict[str, str]:
    """Return the variables of the server of ``user``; ``unit`` is its unit's name without ``.service``."""
    addresses = Addresses(s3_endpoint=settings.s3_endpoint, placement_url=settings.placement_url)
    return {
        **common_environment(f"{unit}.service", str(environment), addresses),
        **gateway_environment(user, str(environment), settings.gateway_url, settings.gateway_proxy_address),
        # What a server writes as it starts goes to memory, so that a full home does not keep anyone out.
        "JUPYTER_RUNTIME_DIR": f"/run/{unit}",
        # Kept by the role: what JupyterLab must not try, for there is no internet, where kernels listen, and that the
        # server shows dashboards.
        "JUPYTER_CONFIG_PATH": "/etc/jupyterhub/notebook",
        # JupyterLab's Dask panel starts clusters of the facility, too, and none inside the notebook's own limits.
        "DASK_LABEXTENSION__FACTORY__MODULE": "dask_gateway",
        "DASK_LABEXTENSION__FACTORY__CLASS": "GatewayCluster",
    }


def require(path: Path, what: str) -> None:
    """Raise `SpawnRefused` where ``path`` is not there; ``what`` says what it is for."""
    if not path.exists():
        raise SpawnRefused(
            f"{path}: {what} is missing on this machine. The facility's operators can run site.yml again."
        )
