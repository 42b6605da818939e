#!/usr/bin/python3
"""Ansible module: units that run work with what their files hold."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: current_units
short_description: Restart or reload units that work with something older than their files hold
description:
  - A unit gets its credentials (C(LoadCredential=), systemd.exec(5)) as it starts, and keeps them until it ends. Each
    one that it holds is compared with the file that it comes from, so a restart that an earlier run did not come to is
    made up for.
  - Files that it reads by itself are compared by time with its newest process, for nobody can ask what that has read.
  - Units restart in the order in which they are named. One that does not run gets its credentials when it starts, and
    one whose file is missing could not start again, so both are left as they are.
options:
  units:
    description: The units.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: "Its name, with its kind.", type: str, required: true}
      answers_at:
        description: An address that a unit that restarted answers once it is ready; until then the next one waits.
        type: str
      reloads_for:
        description: Files that it reads as it starts, and again when it is reloaded.
        type: list
        elements: path
        default: []
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Have the gateway hold the token that its file has
  current_units:
    units: [{name: dask-gateway.service}]
"""
RETURN = r"""
restarted:
  description: The units that held an older credential; in a check run, those that would restart.
  returned: always
  type: list
reloaded:
  description: The units that had read an older file, as above.
  returned: always
  type: list
"""

# systemd puts credentials there, one directory for each unit that runs: systemd.exec(5), CREDENTIALS.
HELD = Path("/run/credentials")


def sources(unit_files: str) -> dict[str, Path]:
    """Return the credentials of a unit, each with the file that it comes from, as ``systemctl cat`` shows them."""
    found: dict[str, Path] = {}
    for line in unit_files.splitlines():
        key, _, value = line.partition("=")
        if key.strip() != "LoadCredential":
            continue
        if not value.strip():
            # An empty one takes back those before it (systemd.exec(5)).
            found.clear()
            continue
        name, _, path = value.strip().partition(":")
        found[name] = Path(path)
    return found


def holds_older(unit: str, files: dict[str, Path]) -> bool:
    """Whether a unit that runs holds another credential than its files have, or lacks one."""
    if not all(path.is_file() for path in files.values()):
        return False
    return any(_bytes(HELD / unit / name) != path.read_bytes() for name, path in files.items())


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def has_read_older(main_process: int, files: list[str]) -> bool:
    """Whether one of the files changed after the newest process of a unit started.

    A unit that is reloaded keeps its first process, and what that starts then reads the files. A file that is put in
    place of another one changes with that, so what counts is the change of its status, not of its text (inode(7)). A
    clock that was set back since then makes a reload too many.
    """
    changed = [Path(path).stat().st_ctime for path in files if Path(path).exists()]
    return bool(changed) and max(changed) > newest_start(main_process)


def newest_start(main_process: int) -> float:
    """Return when the newest of a process and its children started, in seconds since the epoch.

    Fields 4 (the parent) and 22 (ticks since the machine started) of /proc/PID/stat: proc_pid_stat(5).
    """
    ticks = []
    for state in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the program's name, which may hold spaces and brackets.
            fields = state.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == main_process or state.parent.name == str(main_process):
            ticks.append(int(fields[19]))
    machine_started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return machine_started + max(ticks) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Compare, and restart or reload those that work with something older."""
    module = AnsibleModule(
        argument_spec={
            "units": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "answers_at": {"type": "str"},
                    "reloads_for": {"type": "list", "elements": "path", "default": []},
                },
            },
        },
        supports_check_mode=True,
    )

    def done(*command: str) -> str:
        status, out, err = module.run_command(list(command))
        if status != 0:
            words = err.strip() or out.strip()
            module.fail_json(msg=f"{unit['name']}: `{' '.join(command)}` failed: {words}. Its journal says more")
        return str(out)

    restarted: list[str] = []
    reloaded: list[str] = []
    asked: list[dict[str, Any]] = module.params["units"]
    for unit in asked:
        name = unit["name"]
        if module.run_command(["systemctl", "--quiet", "is-active", name])[0] != 0:
            continue
        if holds_older(name, sources(done("systemctl", "cat", name))):
            restarted.append(name)
            how = "restart"
        elif has_read_older(int(done("systemctl", "show", "--value", "--property=MainPID", name)), unit["reloads_for"]):
            reloaded.append(name)
            how = "reload"
        else:
            continue
        if module.check_mode:
            continue
        # What the files say is what was compared; systemd may have read them before they were changed.
        done("systemctl", "daemon-reload")
        done("systemctl", how, name)
        if unit["answers_at"]:
            patience = ["--retry", "60", "--retry-all-errors", "--retry-delay", "1"]
            quiet = ["--silent", "--show-error", "--fail", "--noproxy", "*", "--output", "/dev/null"]
            done("curl", *quiet, *patience, unit["answers_at"])
    module.exit_json(changed=bool(restarted or reloaded), restarted=restarted, reloaded=reloaded)


if __name__ == "__main__":
    main()
