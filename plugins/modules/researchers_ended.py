#!/usr/bin/python3
"""Ansible module: nothing of certain researchers runs on this machine."""

from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: researchers_ended
short_description: Make sure that no process of certain researchers runs
description:
  - Their accounts are closed first, so that nobody logs in meanwhile.
  - Each researcher's slices are asked to end, and what is left of their processes after that is ended, wherever it is.
options:
  users: {description: Researchers with C(name) and C(uid)., type: list, elements: dict, required: true}
  seconds: {description: How long units may take to end by themselves., type: int, default: 20}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: End what runs of alice
  researchers_ended:
    users: [{name: alice, uid: 2001}]
"""
RETURN = r"""
closed:
  description: Names of those whose account was open.
  returned: always
  type: list
ended:
  description: How many processes ran, by name of the researcher; those of whom none ran are not there.
  returned: always
  type: dict
"""

KINDS = ("notebooks", "compute")
PAUSE = 0.2  # s
KILL_SECONDS = 20.0


def open_accounts(names: Collection[str], shadow: str) -> list[str]:
    """Which of the accounts let somebody in: those that the machine has, and that are not expired."""
    lines = [line.split(":") for line in shadow.splitlines()]
    return [line[0] for line in lines if line[0] in names and len(line) > 7 and line[7] != "1"]


def of_others(users: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which names and uids of the list do not belong together on this machine: what runs would be somebody else's."""
    known = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    names = {uid: name for name, uid in known.items()}
    found = []
    for user in users:
        name, uid = user["name"], int(user["uid"])
        if known.get(name, uid) != uid:
            found.append(f"accounts_users: {name} has uid {known[name]} on this machine, not {uid}")
        elif names.get(uid, name) != name:
            found.append(f"accounts_users: uid {uid} is {names[uid]}'s on this machine, not {name}'s")
    return found


def processes(uid: int, proc: Path = Path("/proc")) -> list[int]:
    """The processes that run with a uid, as any of their four."""
    found = []
    for path in proc.iterdir():
        if not path.name.isdigit():
            continue
        try:
            status = (path / "status").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        # The first line is a name that the process gives itself: any bytes, but that the kernel writes "\\n" for an
        # end of line.
        fields = dict(line.partition(b":\t")[::2] for line in status.split(b"\n")[1:])
        if str(uid).encode() in fields[b"Uid"].split() and not fields[b"State"].startswith(b"Z"):
            found.append(int(path.name))
    return found


def kill(uid: int, running: Callable[[int], Collection[int]] = processes) -> bool:
    """End all processes of a uid, and those that they start meanwhile; whether none is left."""
    deadline = time.monotonic() + KILL_SECONDS
    while found := running(uid):
        if time.monotonic() > deadline:
            return False
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(PAUSE)
    return True


def end(run: Callable[..., Any], users: Sequence[Mapping[str, Any]], seconds: int) -> None:
    """Ask the slices of all users to end, at once, and wait until they have or the time is over."""
    slices = [f"{kind}-{user['uid']}.slice" for user in users for kind in KINDS]
    run(["systemctl", "stop", "--no-block", *slices])
    deadline = time.monotonic() + seconds
    while any(processes(int(user["uid"])) for user in users) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    # Of a slice that is still ending, all processes at once: one by one, they could start others in between.
    run(["systemctl", "kill", "--signal=SIGKILL", *slices])


def main() -> None:
    """End what runs; fail where something does not end."""
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "dict", "required": True},
            "seconds": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    names = [user["name"] for user in module.params["users"]]
    if others := of_others(module.params["users"]):
        module.fail_json(msg=f"Nothing was changed: {'; '.join(others)}")
    closed = open_accounts(names, Path("/etc/shadow").read_text())
    for name in [] if module.check_mode else closed:
        # As role accounts does it, which comes later.
        module.run_command(["usermod", "--expiredate", "1", "--lock", name], check_rc=True)
    counts = {user["name"]: len(processes(int(user["uid"]))) for user in module.params["users"]}
    running = [user for user in module.params["users"] if counts[user["name"]]]
    if names and not module.check_mode:
        # Of all of them: what was about to start was not counted.
        end(module.run_command, module.params["users"], module.params["seconds"])
        stubborn = [user["name"] for user in module.params["users"] if not kill(int(user["uid"]))]
        if stubborn:
            module.fail_json(msg=f"processes of {', '.join(stubborn)} do not end; `ps -u NAME` shows them")
    ended = {user["name"]: counts[user["name"]] for user in running}
    module.exit_json(changed=bool(running or closed), closed=closed, ended=ended)


if __name__ == "__main__":
    main()
