"""Runs on a machine of the rack, with the machine's own Python: wait until all that is installed there works.

Prints a JSON object: what was waited for, and after how many seconds it was so. Ends with words and status 1 after the
seconds that the argument names. It knows nothing of the site: ports are what the machine's own files say.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TURN = 0.2  # s
CLIENT_SETTINGS = Path("/etc/appliance/client.env")
ADMIN_KEY = Path("/etc/ceph/ceph.client.admin.keyring")
PROXY_UNIT = "jupyterhub-proxy.service"
ASK_TIMEOUT = 5  # s
SLICES = ("storage.slice", "compute.slice", "notebooks.slice")

Check = Callable[[], str]  # returns what is not well, empty where all is


def systemd() -> str:
    """The boot has ended, and of the facility's units none has failed.

    Those are the ones that roles wrote or put into a slice. Packages bring others that fail where a machine lacks the
    hardware that they are for.
    """
    state = said_by("systemctl", "is-system-running").strip()
    if state not in ("running", "degraded"):
        return f"systemd is {state or 'not there yet'}"
    units = said_by("systemctl", "list-units", "--failed", "--plain", "--no-legend").splitlines()
    failed = [unit for unit in (line.split()[0] for line in units) if ours(unit)]
    return f"failed units: {', '.join(failed)}" if failed else ""


def ours(unit: str) -> bool:
    """Whether a role wrote the unit or put it into one of the facility's slices."""
    shown = said_by("systemctl", "show", "--property=FragmentPath,Slice", unit).splitlines()
    settings = dict(line.split("=", 1) for line in shown)
    return settings["FragmentPath"].startswith("/etc/") or settings.get("Slice") in SLICES


def answers(url: str) -> str:
    """Ask ``url``, never by a proxy; return why it gives no answer or an error, empty where all is well."""
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with straight.open(url, timeout=ASK_TIMEOUT):
            return ""
    except OSError as error:
        return f"{url}: {error}"


class Ceph:
    """The cluster, as its live manager and its monitors see it."""

    def __init__(self) -> None:
        import rados  # type: ignore[import-not-found]

        self._error = rados.Error
        # Ask the next monitor soon: those that just boot answer late or not at all.
        hunt = {"mon_client_hunt_interval": "0.5", "mon_client_hunt_interval_backoff": "1"}
        self._cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin", conf=hunt)
        self._connected = False

    def __call__(self) -> str:
        """Return what is not well, that nobody answers among it; empty where all is well."""
        try:
            return self._ask()
        except self._error as error:
            return f"Ceph: {error}"

    def _ask(self) -> str:
        if not self._connected:
            self._cluster.connect(timeout=ASK_TIMEOUT)
            self._connected = True
        # Monitors that boot repeat what the last manager told them before they ended; the live one knows.
        groups = self._told(self._cluster.mgr_command, "pg stat")["pg_summary"]["num_pg_by_state"]
        unwell = [f"{state['num']} {state['name']}" for state in groups if state["name"] != "active+clean"]
        if unwell or not groups:
            return f"Ceph: placement groups {', '.join(unwell) or 'are not known yet'}"
        health = self._told(self._cluster.mon_command, "health")
        checks = ", ".join(check["summary"]["message"] for check in health["checks"].values())
        return "" if health["status"] == "HEALTH_OK" else f"Ceph: {health['status']}: {checks}"

    def _told(self, asked: Callable[..., tuple[int, bytes, str]], prefix: str) -> Any:
        code, out, status = asked(json.dumps({"prefix": prefix, "format": "json"}), b"", timeout=ASK_TIMEOUT)
        if code:
            raise self._error(f"{prefix}: {status or code}")
        return json.loads(out)


def said_by(*command: str) -> str:
    """Return what a command printed, however it ended."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


def checks() -> Iterator[tuple[str, Check]]:
    """Yield what is to be waited for on this machine."""
    yield "systemd", systemd
    command = re.search(r"--port (\d+)", said_by("systemctl", "show", "--property=ExecStart", PROXY_UNIT))
    if command:
        yield "hub", lambda: answers(f"http://127.0.0.1:{command[1]}/hub/health")
    if ADMIN_KEY.exists():
        yield "ceph", Ceph()
    if CLIENT_SETTINGS.exists():
        settings = dict(line.split("=", 1) for line in CLIENT_SETTINGS.read_text().splitlines() if "=" in line)
        yield "placement", lambda: answers(f"{settings['APPLIANCE_PLACEMENT_URL']}/healthz")
        yield "S3", lambda: answers(f"{settings['AWS_ENDPOINT_URL']}/")


def main() -> None:
    """Wait for one check after the other; exit with what is not well once the seconds of argument 1 are over."""
    begun = time.monotonic()
    reached = {}
    for name, check in checks():
        while unwell := check():
            if time.monotonic() - begun > float(sys.argv[1]):
                sys.exit(unwell)
            time.sleep(TURN)
        reached[name] = round(time.monotonic() - begun, 1)
    print(json.dumps(reached))


if __name__ == "__main__":
    main()
