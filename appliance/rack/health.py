"""Wait until all that is installed on a rack's machines works; each machine asks itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from appliance.rack.model import Rack, RackError

PATIENCE = 180  # s
PROGRAM = Path(__file__).with_name("machine_health.py")


def wait(rack: Rack, patience: float = PATIENCE) -> dict[str, float]:
    """Return once every machine of ``rack`` is healthy: what was waited for, and after how many seconds it was so.

    Raises:
        RackError: a machine is not healthy after ``patience`` seconds; the message says what ails each.
    """
    names = [machine.name for machine in rack.machines()]
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        answers = dict(zip(names, pool.map(lambda name: _ask(rack, name, patience), names), strict=True))
    ailing = [f"  - {name}: {answer}" for name, answer in answers.items() if isinstance(answer, str)]
    if ailing:
        raise RackError(f"rack {rack.name!r} is not healthy after {patience:g} s:\n" + "\n".join(ailing))
    seconds: dict[str, float] = {}
    for answer in answers.values():
        if not isinstance(answer, str):
            for step, after in answer.items():
                seconds[step] = max(after, seconds.get(step, 0))
    return seconds


def _ask(rack: Rack, name: str, patience: float) -> Mapping[str, float] | str:
    """Return when each step was reached on a machine, or what it waited for in vain."""
    command = ["ssh", "-F", str(rack.ssh_config), name, f"python3 - {patience:g}"]
    with PROGRAM.open("rb") as program:
        done = subprocess.run(command, stdin=program, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().rpartition("\n")[2]
    found: dict[str, float] = json.loads(done.stdout)
    return found
