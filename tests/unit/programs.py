"""Python programs that must not hang: each in a session of its own, all of whose processes end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

STUCK = 120.0  # s after which a program hangs: a busy machine takes many to import what they need


def run(program: Path, *arguments: str, **environment: str) -> str:
    """Run a program and return what it printed.

    Raises:
        AssertionError: it failed or hangs; with what it said.
    """
    process = subprocess.Popen(
        [sys.executable, str(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    with process:
        try:
            printed, errors = process.communicate(timeout=STUCK)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"hangs: {process.communicate()[1][-3000:]}") from None
    assert process.returncode == 0, errors[-3000:]
    return printed
