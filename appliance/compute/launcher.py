"""The one thing that the gateway may do on a storage host: start and stop researchers' schedulers and workers.

The forced command of the gateway's ssh key, run as root. It reads one JSON request on standard input and answers with
one JSON object. The request names values, never a command, an option or an environment variable: what runs is put
together here from this host's own configuration, so that a head in the wrong hands gains no more than what a
researcher may start anyway. Standard library only.

Verbs: ``start`` (one scheduler or worker), ``stop`` (units of one user), ``status`` (likewise).
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import syslog
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.compute.units import (
    HEX_NAME,
    SCHEDULER,
    SCHEDULER_ADDRESS,
    USER_NAME,
    WORKER,
    unit_name,
    unit_pattern,
)

CONFIG = Path("/etc/appliance/launcher.json")
HANDOVER = Path("/run/appliance-launcher")  # secrets on their way to systemd, root's alone
REQUEST_BYTES_MAX = 2**20
SECRETS = ("token", "tls_cert", "tls_key")

# Each unit sees the system and its own temporary files: no home, no process, no device of others.
SANDBOX = (
    "Type=exec",
    "PrivateTmp=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectProc=invisible",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "CapabilityBoundingSet=",
    "UMask=0077",
    "WorkingDirectory=/tmp",
    "TimeoutStopSec=10",
    # Under memory pressure the kernel takes an analysis before it takes an OSD.
    "OOMScoreAdjust=500",
    "MemorySwapMax=0",
    "TasksMax=1024",
)


class RefusedError(Exception):
    """The request is not carried out; the message says why, in terms of the request."""


def main() -> int:
    """Answer one request. Returns the exit code: 0 done, 1 refused or failed."""
    syslog.openlog("appliance-launcher", 0, syslog.LOG_AUTHPRIV)
    described = "unreadable request"
    try:
        config = json.loads(CONFIG.read_text())
        request = _read(sys.stdin.buffer.read(REQUEST_BYTES_MAX + 1))
        described = _described(request)
        answer = handle(request, config)
        syslog.syslog(syslog.LOG_INFO, f"{described}: done")
    except RefusedError as refusal:
        syslog.syslog(syslog.LOG_WARNING, f"{described}: refused: {refusal}")
        answer = {"ok": False, "refused": str(refusal)}
    except Exception as error:
        syslog.syslog(syslog.LOG_ERR, f"{described}: failed: {error!r}")
        answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    json.dump(answer, sys.stdout)
    return 0 if answer["ok"] else 1


def handle(request: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a request against this host's configuration and carry it out.

    Raises:
        RefusedError: the request asks for something that it may not have.
        RuntimeError: systemd could not do it.
    """
    verb = _text(request, "verb")
    account = check_user(_text(request, "user"), config)
    if verb == "start":
        check_start(request, config)
        return _start(request, account, config)
    units = request.get("units")
    if not isinstance(units, list) or not all(isinstance(unit, str) for unit in units):
        raise RefusedError(f"units = {units!r} is not a list of names")
    for unit in units:
        check_unit(unit, account.pw_name)
    if verb == "stop":
        # A unit that has gone meanwhile is as stopped as can be; systemctl says so with 5.
        _run(["systemctl", "stop", "--no-block", "--", *units], allowed=(0, 5)) if units else None
        return {"ok": True}
    if verb == "status":
        shown = _run(["systemctl", "show", "--property=ActiveState", "--value", "--", *units]) if units else ""
        states = [state for state in shown.split("\n") if state]
        return {"ok": True, "states": dict(zip(units, states, strict=True))}
    raise RefusedError(f"verb = {verb!r} is none of start, stop, status")


def check_user(name: str, config: Mapping[str, Any]) -> pwd.struct_passwd:
    """The account of a researcher of this facility; everyone else is refused."""
    if not USER_NAME.fullmatch(name):
        raise RefusedError(f"user = {name!r} is no user name")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise RefusedError(f"user {name!r} does not exist on {config['host']}") from None
    low, high = config["uid_min"], config["uid_max"]
    if account.pw_uid == 0 or account.pw_gid == 0 or not low <= account.pw_uid <= high:
        raise RefusedError(f"user {name!r} has uid {account.pw_uid}; researchers have uids from {low} to {high}")
    if name not in config["users"]:
        raise RefusedError(f"user {name!r} is no researcher of this facility; accounts_users lists them")
    return account


def check_unit(unit: str, user: str) -> None:
    """Refuse names of units that are not this user's schedulers or workers."""
    if not unit_pattern(user).fullmatch(unit):
        raise RefusedError(f"unit {unit!r} is no scheduler or worker of {user!r}")


def check_start(request: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check everything that a start request names."""
    role, worker = _text(request, "role"), request.get("worker", "")
    if role not in (SCHEDULER, WORKER):
        raise RefusedError(f"role = {role!r} is neither {SCHEDULER} nor {WORKER}")
    for field in ("cluster", *(("worker",) if role == WORKER else ())):
        if not HEX_NAME.fullmatch(_text(request, field)):
            raise RefusedError(f"{field} = {request[field]!r} is no name that the gateway gives")
    expected = unit_name(request["user"], request["cluster"], role, worker)
    check_unit(_text(request, "unit"), request["user"])
    if request["unit"] != expected:
        raise RefusedError(f"unit {request['unit']!r} is not the one of this request, {expected!r}")
    for field, limit in config["limits"].items():
        value = request.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= limit:
            raise RefusedError(f"{field} = {value!r} is over the limit of this facility: 1 to {limit}")
    offered = [os.path.realpath(path) for path in config["environments"]]
    if _text(request, "environment") not in offered:
        raise RefusedError(f"environment = {request['environment']!r} is not offered; these are: {', '.join(offered)}")
    for field in ("heartbeat_period", "adaptive_period", "idle_timeout") if role == SCHEDULER else ():
        if not isinstance(request.get(field), (int, float)) or isinstance(request[field], bool) or request[field] < 0:
            raise RefusedError(f"{field} = {request.get(field)!r} is no number of seconds")
    if role == WORKER and not SCHEDULER_ADDRESS.fullmatch(_text(request, "scheduler_address")):
        raise RefusedError(f"scheduler_address = {request['scheduler_address']!r} is not like tls://10.0.0.1:8786")
    if not Path(config["credentials"], request["user"]).is_file():
        raise RefusedError(
            f"user {request['user']!r} has no S3 keys on {config['host']}; role ceph_s3_users makes them"
        )
    for field in SECRETS:
        _text(request, field)


def command(request: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """What the unit runs, from the environment that the user's notebook runs from too."""
    address = config["address"]
    python = f"{request['environment']}/bin/python"
    dashboard = ["--dashboard-address", f"{address}:0"]
    if request["role"] == SCHEDULER:
        return [
            *[python, "-m", "distributed.cli.dask_scheduler"],
            *["--protocol", "tls", "--host", address, "--port", "0", *dashboard],
            *["--preload", "appliance.compute.plugin", "--preload", "appliance.compute.dashboard"],
            *["--preload", "dask_gateway.scheduler_preload"],
            *["--dg-api-address", f"{address}:0"],
            *["--dg-heartbeat-period", str(request["heartbeat_period"])],
            *["--dg-adaptive-period", str(request["adaptive_period"])],
            *["--dg-idle-timeout", str(request["idle_timeout"])],
        ]
    return [
        *[python, "-m", "distributed.cli.dask_worker", request["scheduler_address"]],
        # The unit is what watches over the worker: a nanny in it would be a second process for the same.
        # Its pages would show a researcher's work to this whole network and cost a third of its start; /metrics stays.
        *["--host", address, *dashboard, "--no-dashboard", "--name", request["worker"], "--no-nanny"],
        *["--nthreads", str(request["threads"]), "--memory-limit", str(request["memory"])],
        *["--preload", "appliance.compute.worker", "--local-directory", "/var/tmp", "--death-timeout", "60"],  # noqa: S108
    ]


def properties(request: Mapping[str, Any], account: pwd.struct_passwd, config: Mapping[str, Any]) -> list[str]:
    """The unit's properties: who, where, how much, with which environment. No secret is among them."""
    given = f"/run/credentials/{request['unit']}"
    role = request["role"].upper()
    environment = {
        **config["environment"],
        "APPLIANCE_HOST": config["host"],
        "APPLIANCE_ENVIRONMENT": request["environment"],
        "DASK_GATEWAY_API_URL": config["api_url"],
        "DASK_GATEWAY_API_TOKEN": f"{given}/token",
        "DASK_GATEWAY_CLUSTER_NAME": request["cluster"],
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": f"{given}/tls_cert",
        f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT": f"{given}/tls_cert",
        f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY": f"{given}/tls_key",
        "AWS_SHARED_CREDENTIALS_FILE": f"{given}/s3",
        "HOME": "/tmp",  # noqa: S108  # the unit's own
        # One thread for each task: Dask runs as many tasks as there are cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return [
        *SANDBOX,
        f"User={account.pw_name}",
        f"Group={account.pw_gid}",
        f"Slice={config['slice']}",
        f"MemoryMax={request['memory']}",
        f"CPUQuota={100 * request['cores']}%",
        *(f"Environment={name}={value}" for name, value in environment.items()),
        # The scheduler reads no data, but asks what the user may ask: which parts a file was uploaded in.
        f"LoadCredential=s3:{config['credentials']}/{account.pw_name}",
    ]


def _start(request: Mapping[str, Any], account: pwd.struct_passwd, config: Mapping[str, Any]) -> dict[str, Any]:
    HANDOVER.mkdir(mode=0o700, exist_ok=True)
    handover = Path(tempfile.mkdtemp(dir=HANDOVER))
    try:
        # A value set in the unit could be read by everyone over D-Bus. systemd copies files before the unit runs,
        # and Type=exec means that it runs once systemd-run returns.
        for name in SECRETS:
            (handover / name).write_text(request[name])
        wanted = properties(request, account, config)
        wanted += [f"LoadCredential={name}:{handover / name}" for name in SECRETS]
        run = ["systemd-run", "--quiet", "--collect", f"--unit={request['unit']}"]
        run += [f"--description=Dask {request['role']} of {account.pw_name}"]
        _run([*run, *(f"--property={item}" for item in wanted), "--", *command(request, config)])
    finally:
        shutil.rmtree(handover)
    return {"ok": True, "unit": request["unit"]}


def _run(arguments: list[str], allowed: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in allowed:
        raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > REQUEST_BYTES_MAX:
        raise RefusedError(f"the request is longer than {REQUEST_BYTES_MAX} bytes")
    try:
        request = json.loads(data)
    except ValueError as error:
        raise RefusedError(f"the request is no JSON: {error}") from None
    if not isinstance(request, dict):
        raise RefusedError("the request is no JSON object")
    return request


def _text(request: Mapping[str, Any], field: str) -> str:
    value = request.get(field)
    if not isinstance(value, str) or not value or "\0" in value:
        # Some fields are secret: name the field, not the value.
        raise RefusedError(f"{field} is missing or no text")
    return value


def _described(request: Mapping[str, Any]) -> str:
    """For the journal: who wants what, with nothing of the request's secrets."""
    shown = ("verb", "user", "role", "unit", "units", "memory", "cores", "threads", "environment")
    return " ".join(f"{field}={request[field]!r}" for field in shown if field in request)[:1000]


if __name__ == "__main__":
    sys.exit(main())
