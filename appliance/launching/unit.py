"""The unit of a scheduler or worker: what it runs and with which properties. Standard library only."""

from __future__ import annotations

import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.launching.launcher_settings import LauncherSettings
from appliance.launching.protocol import Start, StartScheduler, StartWorker
from appliance.researcher.environment import Addresses, common_environment, credential, keys_file
from appliance.researcher.sandbox import SANDBOX, Properties, temporary_files
from appliance.researcher.slices import slice_of

# What a scheduler or worker has beyond each of a researcher's units: no home, and less patience.
_OWN: Properties = {
    "Type": "exec",
    "ProtectHome": "yes",
    "UMask": "0077",
    "WorkingDirectory": "/tmp",  # noqa: S108  (the unit's own)
    "TimeoutStopSec": "10",
    # Under memory pressure the kernel takes an analysis before it takes an OSD.
    "OOMScoreAdjust": "500",
    "TasksMax": "1024",
}

# Temporary directories are of the unit's memory: one that is full shall be told as such, before the memory is.
_TEMPORARY_PARTS = 4


def ports_of(request: Start) -> int:
    """Return at how many ports the unit listens: tasks and pages, a scheduler also for the gateway."""
    return 3 if isinstance(request, StartScheduler) else 2


def command(request: Start, settings: LauncherSettings, ports: Sequence[int]) -> list[str]:
    """Return what the unit runs, from the environment that the user's notebook runs from too.

    Args:
        request: what is to be started.
        settings: this host's.
        ports: as many as `ports_of` says.
    """
    address = settings.address
    python = f"{request.environment}/bin/python"
    # Its HTTP server answers who has the cluster's certificate, and nobody else.
    dashboard = ["--dashboard-address", f"{address}:{ports[1]}", "--preload", "appliance.compute.owner_http"]
    if isinstance(request, StartScheduler):
        return [
            *[python, "-m", "distributed.cli.dask_scheduler"],
            *["--protocol", "tls", "--host", address, "--port", str(ports[0]), *dashboard],
            *["--preload", "appliance.compute.scheduler_preload", "--preload", "dask_gateway.scheduler_preload"],
            *["--dg-api-address", f"{address}:{ports[2]}"],
            *["--dg-heartbeat-period", str(request.heartbeat_period)],
            *["--dg-adaptive-period", str(request.adaptive_period)],
            *["--dg-idle-timeout", str(request.idle_timeout)],
        ]
    if isinstance(request, StartWorker):
        return [
            *[python, "-m", "distributed.cli.dask_worker", request.scheduler_address],
            # The unit is what watches over the worker: a nanny in it would be a second process for the same.
            # Its pages cost a third of its start; /metrics stays.
            *["--host", address, "--worker-port", str(ports[0]), *dashboard, "--no-dashboard"],
            *["--name", request.worker, "--no-nanny"],
            *["--nthreads", str(request.threads), "--memory-limit", str(request.memory)],
            *["--preload", "appliance.compute.worker_preload"],
            *["--local-directory", "/var/tmp", "--death-timeout", "60"],  # noqa: S108  (the unit's own)
        ]
    raise TypeError(f"{type(request).__name__} starts nothing")


def properties(
    request: Start, account: pwd.struct_passwd, settings: LauncherSettings, secrets: Mapping[str, Path]
) -> dict[str, str | list[str]]:
    """Return the unit's properties: who, where, how much, with which environment. No secret is among them.

    Args:
        request: what is to be started.
        account: the researcher's.
        settings: this host's.
        secrets: a file for each of the request's secrets; systemd copies them.
    """
    kind = "scheduler" if isinstance(request, StartScheduler) else "worker"
    # The scheduler reads no data, but asks what the user may ask: which parts a file was uploaded in.
    credentials = {"s3": keys_file(settings.s3_keys, account.pw_name), **secrets}
    return {
        **SANDBOX,
        **_OWN,
        "Description": f"Dask {kind} of {account.pw_name}",
        "User": account.pw_name,
        "Group": str(account.pw_gid),
        "Slice": slice_of(settings.slice, account.pw_uid),
        "TemporaryFileSystem": temporary_files(str(min(settings.temporary_max, request.memory // _TEMPORARY_PARTS))),
        "MemoryMax": str(request.memory),
        "CPUQuota": f"{100 * request.cores}%",
        "Environment": [f"{name}={value}" for name, value in _environment(request, kind, settings).items()],
        "LoadCredential": [f"{name}:{path}" for name, path in credentials.items()],
    }


def _environment(request: Start, kind: str, settings: LauncherSettings) -> dict[str, str]:
    certificate, key = credential(request.unit, "tls_cert"), credential(request.unit, "tls_key")
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    addresses = Addresses(s3_endpoint=settings.s3_endpoint, placement_url=settings.placement_url)
    return {
        **common_environment(request.unit, request.environment, addresses),
        "APPLIANCE_HOST": settings.host,
        "DASK_GATEWAY_API_URL": settings.gateway_api_url,
        "DASK_GATEWAY_API_TOKEN": credential(request.unit, "token"),
        "DASK_GATEWAY_CLUSTER_NAME": request.cluster,
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        f"{tls}CA_FILE": certificate,
        f"{tls}{kind.upper()}__CERT": certificate,
        f"{tls}{kind.upper()}__KEY": key,
        "HOME": "/tmp",  # noqa: S108  (the unit's own)
        # One thread for each task: Dask runs as many tasks as there are cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
