"""``python -m appliance.verify.facility``: check the facility on its head, as root, and print a report.

Reads a JSON object on standard input: user, password, hub_url, gateway_url, gateway_proxy_address, placement_url,
s3_endpoint, s3_credentials (a file), environment (a path), seconds (patience with the cluster). Exits 1 where a check
failed. The password and the token are in no argument, no environment and no output.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pwd
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from appliance.verify.hub import HubSession
from appliance.verify.report import Report

GATEWAY_PREFIX = "/services/dask-gateway"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the check is told; see the module's text. ``seconds`` limits the researcher's part."""

    user: str
    password: str = dataclasses.field(repr=False)
    hub_url: str
    gateway_url: str
    gateway_proxy_address: str
    placement_url: str
    s3_endpoint: str
    s3_credentials: str
    environment: str
    seconds: int


def check(settings: Settings) -> Report:
    """Make all checks and return their report."""
    report = Report()
    hub = HubSession(settings.hub_url, settings.user)
    with report.check("JupyterHub answers") as answers:
        answers.detail = f"ok, version {hub.version()}"
    with report.check(f"JupyterHub: {settings.user} logs in") as log_in:
        hub.log_in(settings.password)
        token_id, token = hub.token(settings.seconds + 60)
    if not log_in.ok:
        return report
    try:
        with _file(token) as path:
            _researcher(settings, path, report)
    finally:
        with report.check("JupyterHub: the session ends"):
            hub.revoke(token_id)
            hub.log_out()
    return report


@contextlib.contextmanager
def _file(content: str) -> Iterator[Path]:
    """Keep a secret in a file of root's, in memory, for as long as it is needed."""
    with tempfile.NamedTemporaryFile("w", dir="/run", prefix="facility-check-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def _researcher(settings: Settings, token: Path, report: Report) -> None:
    unit = f"facility-check-{secrets.token_hex(4)}"
    credentials = f"/run/credentials/{unit}.service"
    home = pwd.getpwnam(settings.user).pw_dir
    environment = os.path.realpath(settings.environment)
    variables = {
        "HOME": home,
        "LANG": "C.UTF-8",
        "PATH": f"{environment}/bin:/usr/bin:/bin",
        "APPLIANCE_ENVIRONMENT": environment,
        "APPLIANCE_PLACEMENT_URL": settings.placement_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_DEFAULT_REGION": "default",
        "AWS_ENDPOINT_URL": settings.s3_endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": f"{credentials}/s3",
        "DASK_GATEWAY__ADDRESS": f"{settings.gateway_url}{GATEWAY_PREFIX}",
        "DASK_GATEWAY__PROXY_ADDRESS": settings.gateway_proxy_address,
        "DASK_GATEWAY__AUTH__TYPE": "jupyterhub",
        "DASK_GATEWAY__CLUSTER__OPTIONS__ENVIRONMENT": environment,
    }
    properties = [
        f"LoadCredential=s3:{settings.s3_credentials}",
        f"LoadCredential=token:{token}",
        f"RuntimeMaxSec={settings.seconds}",
        "MemoryMax=2G",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectSystem=strict",
    ]
    # A shell reads the token, for Jupyter's variable holds the text itself and units' variables can be read by all.
    program = f'JUPYTERHUB_API_TOKEN="$(cat {credentials}/token)" exec "$@"'
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}", f"--uid={settings.user}"]
    command += ["--slice=notebooks.slice", f"--working-directory={home}"]
    command += [f"--property={line}" for line in properties]
    command += [f"--setenv={name}={value}" for name, value in variables.items()]
    command += ["/bin/sh", "-c", program, "sh", f"{environment}/bin/python", "-m", "appliance.verify.researcher"]
    done = subprocess.run(
        [*command, settings.user], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    theirs = Report.from_lines(done.stdout)
    report.checks += theirs.checks
    if done.returncode not in (0, 1) or not theirs.checks:
        with report.check(f"a unit of {settings.user}"):
            raise RuntimeError(f"{unit} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")


def main() -> int:
    """Read the settings, check, print the table."""
    report = check(Settings(**json.load(sys.stdin)))
    sys.stdout.write(report.as_table())
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
