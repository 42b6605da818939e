"""``python -m appliance.verify.facility``: check the facility on its head, as root, and print a report.

Reads a JSON object of `Settings` on standard input. Exits 1 where a check failed. The password and the token are in no
argument, no environment and no output.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from appliance.checked_json import (
    AbsolutePath,
    Check,
    FaultyError,
    Flag,
    PositiveWhole,
    Text,
    Url,
    is_text,
    parse,
    read_object,
)
from appliance.hub_front import Front
from appliance.researcher.account import researcher_account
from appliance.researcher.environment import (
    Addresses,
    common_environment,
    credential,
    gateway_environment,
    keys_file,
)
from appliance.researcher.sandbox import SANDBOX, as_lines
from appliance.researcher.slices import slice_of
from appliance.verify import certificates
from appliance.verify.hub import HubSession
from appliance.verify.report import Report

Certificates = Annotated[
    str, Check(lambda value: isinstance(value, str) and "BEGIN CERTIFICATE" in value, "give certificates, PEM")
]
Listeners = Annotated[
    dict[str, str],
    Check(
        lambda value: isinstance(value, dict) and bool(value) and all(map(is_text, (*value, *value.values()))),
        "give the IP address of each https:// address",
    ),
]
Password = Annotated[
    str, Check(lambda value: value == "" or is_text(value), "give the researcher's password, or nothing", secret=True)
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What the check is told.

    Attributes:
        user: the researcher as whom the facility is used.
        password: the researcher's; empty where they log in elsewhere, at a directory or a provider.
        uid_min: the least uid of a researcher.
        uid_max: the greatest.
        hub_database: of the hub on this machine.
        hub_url: the hub as browsers find it, without a path.
        hub_authorities: certificates that the hub's may go back to, PEM.
        hub_subdomains: whether each server has a name of its own.
        authority: the certificate of the facility's authority, PEM.
        listeners: what machines listen at for each other, as https://MACHINE:PORT, with the machine's IP address.
        gateway_url: the gateway of Dask clusters, without a path.
        gateway_proxy_address: the gateway's proxy to the schedulers.
        placement_url: the placement service.
        s3_endpoint: S3.
        s3_keys: the directory of the researchers' S3 keys.
        environment: the environment of the notebooks, or a link to it.
        seconds: the most that the researcher's part may take.
    """

    user: Text
    password: Password = dataclasses.field(repr=False)
    uid_min: PositiveWhole
    uid_max: PositiveWhole
    hub_database: AbsolutePath
    hub_url: Url
    hub_authorities: Certificates
    hub_subdomains: Flag
    authority: Certificates
    listeners: Listeners
    gateway_url: Url
    gateway_proxy_address: Url
    placement_url: Url
    s3_endpoint: Url
    s3_keys: AbsolutePath
    environment: AbsolutePath
    seconds: PositiveWhole


def check(settings: Settings) -> Report:
    """Make all checks and return their report."""
    report = Report()
    # On this machine, by the way that browsers take.
    front = Front(settings.hub_url, "127.0.0.1", settings.hub_authorities, settings.hub_subdomains)
    hub = HubSession(front, settings.user)
    with report.check(f"JupyterHub answers at {settings.hub_url}"):
        hub.health()
    with report.check("JupyterHub: its certificate holds") as holds:
        holds.detail = certificates.hub(front)
    with report.check("Certificates between machines hold") as holds:
        holds.detail = certificates.between_machines(settings.listeners, settings.authority)
    if settings.password:
        _logged_in(hub, settings, report)
    else:
        _by_database(settings, report)
    return report


def _logged_in(hub: HubSession, settings: Settings, report: Report) -> None:
    """Make the researcher's checks with a token that the researcher asks the hub for."""
    with report.check(f"JupyterHub: {settings.user} logs in") as log_in:
        hub.log_in(settings.password)
        token_id, token = hub.token(settings.seconds + 60)
    if not log_in.ok:
        return
    try:
        with _file(token) as path:
            _researcher(settings, path, report)
    finally:
        with report.check("JupyterHub: the session ends"):
            hub.revoke(token_id)
            hub.log_out()


def _by_database(settings: Settings, report: Report) -> None:
    """Make the researcher's checks with a token of the machine's own root, who knows no password of the provider's."""
    with contextlib.ExitStack() as until_then:
        with report.check(f"JupyterHub: a token of {settings.user}'s (log-in itself is not tried)") as made:
            # Only where it is used: what the hub is made of takes a second to load.
            from appliance.verify.hub_token import token_of

            tokens = token_of(settings.user, settings.seconds + 60, Path(settings.hub_database))
            path = until_then.enter_context(_file(until_then.enter_context(tokens)))
        if made.ok:
            _researcher(settings, path, report)


@contextlib.contextmanager
def _file(content: str) -> Iterator[Path]:
    """Keep a secret in a file of root's, in memory, for as long as it is needed."""
    with tempfile.NamedTemporaryFile("w", dir="/run", prefix="facility-check-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def _researcher(settings: Settings, token: Path, report: Report) -> None:
    """Run the researcher's part as a unit of that researcher, and take its checks into ``report``."""
    name = f"facility-check-{secrets.token_hex(4)}"
    unit = f"{name}.service"
    account = researcher_account(settings.user, settings.uid_min, settings.uid_max)
    home = account.pw_dir
    environment = os.path.realpath(settings.environment)
    variables = {
        "HOME": home,
        **common_environment(unit, environment, Addresses(settings.s3_endpoint, settings.placement_url)),
        **gateway_environment(settings.user, environment, settings.gateway_url, settings.gateway_proxy_address),
    }
    properties: dict[str, str | list[str]] = {
        **SANDBOX,
        "LoadCredential": [f"s3:{keys_file(settings.s3_keys, settings.user)}", f"token:{token}"],
        "ProtectHome": "tmpfs",
        "BindPaths": home,
        "RuntimeMaxSec": str(settings.seconds),
        "MemoryMax": "2G",
    }
    # A shell reads the token, for Jupyter's variable holds the text itself and units' variables can be read by all.
    program = f'JUPYTERHUB_API_TOKEN="$(cat {credential(unit, "token")})" exec "$@"'
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}", f"--uid={settings.user}"]
    command += [f"--slice={slice_of('notebooks.slice', account.pw_uid)}", f"--working-directory={home}"]
    command += [f"--property={line}" for line in as_lines(properties)]
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
    try:
        settings = read_object(Settings, parse(sys.stdin.buffer.read()))
    except FaultyError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    report = check(settings)
    sys.stdout.write(report.as_table())
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
