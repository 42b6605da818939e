"""Running the host's own programs, with their words kept for the error message."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.rack.model import RackError


def run(*command: str, timeout: float | None = 120, keep_open: Sequence[int] = ()) -> str:
    """Run ``command`` and return what it printed. It inherits the file descriptors ``keep_open``.

    Raises:
        RackError: it failed; the message holds its last words.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, pass_fds=keep_open
        )
    except FileNotFoundError as error:
        raise RackError(f"the program {command[0]!r} is missing; `make setup` installs it") from error
    except subprocess.TimeoutExpired as error:
        raise RackError(f"`{' '.join(command)}` did not end within {timeout} s") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-2000:]
        raise RackError(f"`{' '.join(command)}` failed ({done.returncode}): {words}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Tell whether ``command`` is there and ends with exit code 0."""
    quiet = subprocess.DEVNULL
    try:
        return subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet).returncode == 0
    except FileNotFoundError:
        return False


def mount_points() -> list[Path]:
    """Return where something is mounted, the innermost last."""
    fields = (line.split(" ")[1] for line in Path("/proc/mounts").read_text().splitlines())
    # The kernel writes a space in a path as \\040, and so on.
    return [Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)) for point in fields]
