"""The depot's nginx: a process of its own with a configuration of its own, apart from any nginx of the host."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from appliance.depot import config
from appliance.depot.errors import DepotError
from appliance.depot.layout import Depot

STOP_SECONDS = 10.0


def running_pid(depot: Depot) -> int | None:
    """The pid of this depot's nginx master, or None. A pid file left by a crash counts for nothing."""
    try:
        pid = int(depot.pid_file.read_text(encoding="ascii").strip())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(depot.config) in command else None


def preflight(depot: Depot, settings: config.Settings) -> list[str]:
    """All reasons why the depot cannot come up, each with its way out; empty when it can. Changes nothing."""
    faults = []
    existing = next(parent for parent in (depot.root, *depot.root.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        who = "is not root" if os.geteuid() != 0 else "cannot write there"
        faults.append(
            f"depot directory {depot.root}: this user {who}; run as root, or name another directory: APPLIANCE_CACHE=…"
        )
    closed = [
        parent for parent in reversed(depot.root.parents) if parent.exists() and not parent.stat().st_mode & 0o001
    ]
    if closed and os.geteuid() == 0:
        faults.append(
            f"depot directory {depot.root}: nginx's workers, who are not root, cannot pass {closed[0]}; "
            f"`chmod o+x {closed[0]}`, or name another directory: APPLIANCE_CACHE=…"
        )
    if shutil.which("nginx") is None and not Path("/usr/sbin/nginx").exists():
        faults.append("nginx: not installed; run `make setup` as root, or `apt-get install nginx-light`")
    if settings.debian is None:
        faults.append(
            "Debian mirror: this host's apt sources name none (component main, address ending in /debian); "
            "name one: `appliance depot up --mirror http://MIRROR/debian`"
        )
    if running_pid(depot) is None and (holder := _port_taken(settings)):
        faults.append(
            f"port {settings.listen}:{settings.port}: {holder}; see `ss -ltnp 'sport = :{settings.port}'`, "
            "stop that, or take another: `appliance depot up --port N` (and set depot_url in the inventory)"
        )
    return faults


def _port_taken(settings: config.Settings) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.listen, settings.port))
        except OSError as error:
            return f"cannot be opened ({error.strerror})"
    return None


def up(depot: Depot, settings: config.Settings) -> str:
    """Bring the server up with these settings; returns what was done: started, reloaded or unchanged.

    Raises:
        DepotError: it cannot come up; all reasons at once, and nothing was changed.
    """
    faults = preflight(depot, settings)
    if faults:
        raise DepotError("\n".join(faults))
    # Traversal must be possible for nginx's workers, whatever umask this was called under.
    depot.root.mkdir(parents=True, exist_ok=True)
    depot.root.chmod(0o755)
    for directory in (depot.run, depot.served, depot.wheels, depot.nix, depot.debian):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    text = config.render(depot, settings)
    pid = running_pid(depot)
    if pid is not None and depot.config.read_text(encoding="utf-8") == text:
        return "unchanged"
    candidate = depot.config.with_suffix(".new")
    candidate.write_text(text, encoding="utf-8")
    check = subprocess.run([_nginx(), "-q", "-t", "-c", candidate], capture_output=True, text=True, check=False)
    if check.returncode:
        raise DepotError(f"nginx refuses the configuration {candidate}: {check.stderr.strip()}")
    candidate.replace(depot.config)
    if pid is not None:
        os.kill(pid, signal.SIGHUP)
        return "reloaded"
    if depot.access_log.exists():
        depot.access_log.replace(depot.access_log.with_suffix(".log.1"))
    started = subprocess.run([_nginx(), "-q", "-c", depot.config], capture_output=True, text=True, check=False)
    if started.returncode:
        raise DepotError(f"nginx did not start: {started.stderr.strip()}; see {depot.error_log}")
    _wait_for_answer(settings)
    return "started"


def down(depot: Depot) -> bool:
    """Stop the server, transfers at once; True if there was one. What was fetched stays."""
    pid = running_pid(depot)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while not _ended(pid):
        if time.monotonic() > deadline:
            raise DepotError(f"nginx (pid {pid}) did not stop within {STOP_SECONDS:.0f} s; see {depot.error_log}")
        time.sleep(0.05)
    return True


def _ended(pid: int) -> bool:
    # A process that is exiting loses its command line before its sockets: only its end, or its being a zombie, counts.
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _nginx() -> str:
    # /usr/sbin is not on everybody's PATH.
    return shutil.which("nginx") or "/usr/sbin/nginx"


def _wait_for_answer(settings: config.Settings) -> None:
    address = "127.0.0.1" if settings.listen == "0.0.0.0" else settings.listen  # noqa: S104
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, settings.port), timeout=1):
            return
        time.sleep(0.05)
    raise DepotError(f"nginx started and nothing answers on {address}:{settings.port}")
