"""The converged rack that APPLIANCE_RACK names: its machines as root sees them, and the one way to wait for them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

from appliance.demo.facility import Facility
from appliance.rack.lifecycle import ssh_command

FACILITY = Facility(os.environ.get("APPLIANCE_RACK", "rack"))
RACK = FACILITY.rack
HEAD = "head1"
STORES = tuple(machine.name for machine in RACK.machines() if machine.name.startswith("store"))
MACHINES = (HEAD, *STORES)

T = TypeVar("T")

STUCK = 180.0  # s after which what was waited for does not come any more, however busy the machine
PAUSE = 0.3  # s


def run_on(machine: str, command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a shell command on a machine as root, with ``given`` as its input, and return how it ended."""
    words = [*ssh_command(RACK, machine), command]
    return subprocess.run(words, capture_output=True, text=True, check=False, input=given)


def ask(machine: str, command: str, *, check: bool = True, given: str | None = None) -> str:
    """Run a shell command on a machine as root and return its output."""
    done = run_on(machine, command, given)
    assert done.returncode == 0 or not check, f"{machine}: {command}: {done.returncode}: {done.stderr}"
    return done.stdout


def refused(machine: str, command: str, words: str) -> None:
    """Assert that a shell command fails on a machine, and with these words: not for a reason of its own."""
    done = run_on(machine, command)
    assert done.returncode != 0, f"{machine}: {command}: {done.stdout}"
    assert words in done.stdout + done.stderr, f"{machine}: {command}: {done.stdout}{done.stderr}"


def is_active(machine: str, unit: str) -> bool:
    """Whether a unit runs on a machine."""
    return ask(machine, f"systemctl is-active {unit}", check=False).strip() == "active"


def until(ready: Callable[[], T | None], why: Callable[[], object] = lambda: "did not come about") -> T:
    """Wait until ``ready`` returns what is true, and return that; an assertion says ``why`` if it never does."""
    last = time.monotonic() + STUCK
    while not (found := ready()):
        assert time.monotonic() < last, why()
        time.sleep(PAUSE)
    return found
