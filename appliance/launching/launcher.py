"""The one thing that the gateway may do on a storage host: start and stop researchers' schedulers and workers.

The forced command of the gateway's ssh key, run as root. It reads one request (`appliance.launching.protocol`) on
standard input and answers with one JSON object. A request names values, never a command, an option, a unit or an
environment variable: what runs is put together by `appliance.launching.unit` from this host's own settings, so that a
head in the wrong hands gains no more than what a researcher may start anyway. Standard library only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import syslog
import tempfile
from pathlib import Path

from appliance.launching.free_ports import take
from appliance.launching.launcher_settings import LauncherSettings
from appliance.launching.protocol import (
    REQUEST_BYTES_MAX,
    Answer,
    Failed,
    Refused,
    RefusedError,
    Request,
    Running,
    Start,
    Started,
    StartWorker,
    Status,
    Stop,
    Stopped,
    parse_request,
)
from appliance.launching.unit import command, ports_of, properties
from appliance.researcher.account import NotAResearcherError, researcher_account
from appliance.researcher.environment import keys_file
from appliance.researcher.sandbox import as_lines

SETTINGS = Path("/etc/appliance/launcher.json")
HANDOVER = Path("/run/appliance-launcher")  # secrets on their way to systemd, root's alone
LAST_PORT = HANDOVER / "last-port"  # the one that was given out last


def main() -> int:
    """Answer one request. Returns the exit code: 0 done, 1 refused or failed."""
    syslog.openlog("appliance-launcher", 0, syslog.LOG_AUTHPRIV)
    described = "unreadable request"
    answer: Answer
    try:
        settings = LauncherSettings.from_file(SETTINGS)
        request = parse_request(sys.stdin.buffer.read(REQUEST_BYTES_MAX + 1))
        described = repr(request)  # without the request's secrets
        answer = handle(request, settings)
        syslog.syslog(syslog.LOG_INFO, f"{described}: done")
    except RefusedError as error:
        answer = Refused(reason=str(error))
        syslog.syslog(syslog.LOG_WARNING, f"{described}: refused: {error}")
    except Exception as error:  # the gateway is told of every fault, whatever its kind
        answer = Failed(reason=f"{type(error).__name__}: {error}")
        syslog.syslog(syslog.LOG_ERR, f"{described}: failed: {error!r}")
    sys.stdout.write(answer.to_json())
    return 1 if isinstance(answer, Refused | Failed) else 0


def handle(request: Request, settings: LauncherSettings) -> Answer:
    """Check a request against this host's settings and carry it out.

    Raises:
        RefusedError: the request asks for something that it may not have.
        RuntimeError: systemd could not do it.
    """
    account = check_user(request.user, settings)
    if isinstance(request, Start):
        check_listed(request.user, settings)
        check_start(request, settings)
        return _start(request, account, settings)
    if isinstance(request, Stop):
        # A unit that has gone meanwhile is as stopped as can be; systemctl says so with 5.
        _run(["systemctl", "stop", "--no-block", "--", request.unit], allowed=(0, 5))
        return Stopped(unit=request.unit)
    if isinstance(request, Status):
        pattern = f"dask-{request.user}-{request.cluster}-*.service"
        listed = _run(
            ["systemctl", "list-units", "--plain", "--no-legend", "--full", "--state=active,activating", pattern]
        )
        return Running(units=tuple(line.split()[0] for line in listed.splitlines()))
    raise TypeError(f"{type(request).__name__} is no request that the launcher knows")


def check_user(name: str, settings: LauncherSettings) -> pwd.struct_passwd:
    """Return the account of a researcher on this machine; raise `RefusedError` for everyone else's."""
    try:
        account = researcher_account(name, settings.uid_min, settings.uid_max)
    except NotAResearcherError as error:
        raise RefusedError(f"user {error}") from None
    return account


def check_listed(name: str, settings: LauncherSettings) -> None:
    """Raise `RefusedError` for who may not start anything here.

    What runs of theirs can still be asked for and ended.
    """
    if name not in settings.users:
        raise RefusedError(f"user {name!r} is no researcher of this facility, or locked; accounts_users lists them")


def check_start(request: Start, settings: LauncherSettings) -> None:
    """Check what a request to start names against this host's limits; raise `RefusedError` where one is passed."""
    limits = {"memory": (request.memory, settings.memory_max), "cores": (request.cores, settings.cores_max)}
    if isinstance(request, StartWorker):
        limits["threads"] = (request.threads, settings.threads_max)
    for name, (value, most) in limits.items():
        if value > most:
            raise RefusedError(f"{name} = {value} is over the limit of this facility: 1 to {most}")
    offered = [os.path.realpath(path) for path in settings.environments]
    if request.environment not in offered:
        raise RefusedError(f"environment = {request.environment!r} is not offered; these are: {', '.join(offered)}")
    if not keys_file(settings.s3_keys, request.user).is_file():
        raise RefusedError(f"user {request.user!r} has no S3 keys on {settings.host}; role ceph_s3_users makes them")


def _start(request: Start, account: pwd.struct_passwd, settings: LauncherSettings) -> Started:
    HANDOVER.mkdir(mode=0o700, exist_ok=True)
    handover = Path(tempfile.mkdtemp(dir=HANDOVER))
    try:
        # A value set in the unit could be read by everyone over D-Bus. systemd copies files before the unit runs,
        # and Type=exec means that it runs once systemd-run returns.
        secrets = {name: handover / name for name in Start.SECRETS}
        for name, path in secrets.items():
            path.write_text(getattr(request, name))
        run = ["systemd-run", "--quiet", "--collect", f"--unit={request.unit}"]
        run += [f"--property={line}" for line in as_lines(properties(request, account, settings, secrets))]
        ports = take(ports_of(request), settings.address, settings.port_min, settings.port_max, LAST_PORT)
        _run([*run, "--", *command(request, settings, ports)])
    finally:
        shutil.rmtree(handover)
    return Started(unit=request.unit)


def _run(arguments: list[str], allowed: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in allowed:
        raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
