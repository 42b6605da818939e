"""Settings and requests as they should be."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any

from appliance.launching.launcher_settings import LauncherSettings
from appliance.launching.protocol import StartScheduler, StartWorker

CLUSTER, WORKER = "c" * 32, "a" * 32
NOBODY = pwd.getpwnam("nobody")  # a user that every Debian machine has; here it plays a researcher
SECRETS = {"token": "canary-token", "tls_cert": "canary-cert", "tls_key": "canary-key"}


def launcher_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a host whose files lie in a folder, as JSON gives them."""
    return {
        "host": "store1",
        "address": "10.77.0.21",
        "port_min": 20000,
        "port_max": 24999,
        "slice": "compute.slice",
        "users": ["nobody", "root", "daemon"],
        "uid_min": NOBODY.pw_uid,
        "uid_max": NOBODY.pw_uid,
        "memory_max": 4 * 2**30,
        "cores_max": 2,
        "threads_max": 2,
        "temporary_max": 2**30,
        "environments": [str(folder / "link")],
        "s3_keys": str(folder / "s3"),
        "gateway_api_url": "http://head1:8003/services/dask-gateway/api",
        "s3_endpoint": "http://127.0.0.1:7481",
        "placement_url": "http://127.0.0.1:7483",
        **changes,
    }


def host(folder: Path, **changes: Any) -> LauncherSettings:
    """Make a host's files and return its settings."""
    (folder / "s3").mkdir()
    (folder / "s3" / "nobody").write_text("[default]\n")
    (folder / "store-path").mkdir()
    (folder / "link").symlink_to(folder / "store-path")
    return LauncherSettings(**launcher_settings(folder, **changes))


def start_scheduler(environment: str = "/nix/store/x-analysis", **changes: Any) -> StartScheduler:
    """Return a request for a scheduler."""
    fields = {
        "user": "nobody",
        "cluster": CLUSTER,
        "environment": environment,
        "memory": 2**30,
        "cores": 1,
        "heartbeat_period": 15,
        "adaptive_period": 3.0,
        "idle_timeout": 0.0,
        **SECRETS,
        **changes,
    }
    return StartScheduler(**fields)


def start_worker(environment: str = "/nix/store/x-analysis", **changes: Any) -> StartWorker:
    """Return a request for a worker."""
    fields = {
        "user": "nobody",
        "cluster": CLUSTER,
        "environment": environment,
        "memory": 2**30,
        "cores": 1,
        "worker": WORKER,
        "threads": 1,
        "scheduler_address": "tls://10.77.0.22:41234",
        **SECRETS,
        **changes,
    }
    return StartWorker(**fields)
