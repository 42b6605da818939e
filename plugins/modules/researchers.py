#!/usr/bin/python3
"""Ansible module: groups and researchers with the same ids on every machine."""

from __future__ import annotations

import ctypes
import ctypes.util
import grp
import os
import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: researchers
short_description: Make sure that groups and researchers exist with the given ids
description:
  - All of them in one step. Every name or id that is taken is named, and then nothing is changed.
  - Who is not C(present) has an account that is expired, and on machines with C(sign_in) a locked password.
  - Accounts of C(everybody) that are not in C(users) are named in C(unlisted), and stay as they are.
  - Passwords reach the machine's own tool over its standard input. With passwords, the task needs C(no_log).
options:
  groups: {description: Shared groups with C(name) and C(gid)., type: list, elements: dict, required: true}
  users:
    description: Researchers with C(name), C(uid), C(groups) and C(state), which is C(present), C(locked) or C(absent).
    type: list
    elements: dict
    required: true
  everybody: {description: The group that every researcher belongs to., type: str, default: ""}
  passwords: {description: Passwords or hashes by name. An empty one is only checked for., type: dict, default: {}}
  sign_in: {description: Whether each researcher needs a password here., type: bool, default: false}
  shell: {description: The researchers' shell., type: str, required: true}
  home: {description: Directory of the homes., type: path, required: true}
  name_pattern: {description: Regular expression for a researcher's whole name., type: str, required: true}
  uid_min: {description: The least uid of a researcher., type: int, required: true}
  uid_max: {description: The greatest uid of a researcher., type: int, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make a researcher
  researchers:
    groups: [{name: climate, gid: 3001}]
    users: [{name: alice, uid: 2001, groups: [climate]}]
    shell: /bin/bash
    home: /home
    name_pattern: "[a-z]{3,32}"
    uid_min: 2000
    uid_max: 59999
"""
RETURN = r"""
done:
  description: What was done, or would be, as commands (never a password).
  returned: always
  type: list
unlisted:
  description: Names of researchers' accounts that are on the machine and not in C(users).
  returned: always
  type: list
waiting:
  description: Homes of those who are absent that are still on the machine.
  returned: always
  type: list
faults:
  description: Why the machine cannot take these accounts.
  returned: on failure
  type: list
"""


@dataclass(frozen=True)
class Rules:
    """What a researcher is: a pattern for the whole name, and the least and the greatest uid."""

    name_pattern: str
    uid_min: int
    uid_max: int


@dataclass(frozen=True)
class Machine:
    """The accounts that a machine has: by name, users' uid, gid, home and shell, and groups' gid and members.

    ``expired`` are the names of accounts that let nobody in, whatever they show; ``locked`` of those that keep a
    password which opens nothing.
    """

    users: Mapping[str, tuple[int, int, str, str]]
    groups: Mapping[str, tuple[int, frozenset[str]]]
    expired: frozenset[str] = frozenset()
    locked: frozenset[str] = frozenset()


@dataclass
class Plan:
    """What is wrong, or else what is to be done."""

    faults: list[str] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)


def wanted_groups(groups: Sequence[Mapping[str, Any]], users: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """All groups by name with their gid: the shared ones, and each researcher's own."""
    return {group["name"]: int(group["gid"]) for group in groups} | {user["name"]: int(user["uid"]) for user in users}


def state_of(user: Mapping[str, Any]) -> str:
    """Whether a researcher is ``present``, ``locked`` or ``absent``."""
    return str(user.get("state") or "present")


def unlisted(machine: Machine, users: Sequence[Mapping[str, Any]], everybody: str) -> list[str]:
    """Researchers who have an account here and are not named. Nothing of theirs is changed."""
    listed = {user["name"] for user in users}
    return sorted(machine.groups.get(everybody, (0, frozenset()))[1] - listed)


def lock(machine: Machine, user: Mapping[str, Any], sign_in: bool) -> list[str] | None:
    """The command that locks an account or opens it again; None where it is as it should be. New ones are open."""
    name = user["name"]
    if (state_of(user) == "present") == (name not in machine.expired):
        return None
    if state_of(user) == "present":
        # usermod refuses to unlock where there is no password.
        return ["usermod", "--expiredate", "", *(["--unlock"] if sign_in and name in machine.locked else []), name]
    return ["usermod", "--expiredate", "1", *(["--lock"] if sign_in else []), name]


def faults(
    machine: Machine,
    groups: Sequence[Mapping[str, Any]],
    users: Sequence[Mapping[str, Any]],
    rules: Rules,
    secrets: Mapping[str, str] | None,
) -> list[str]:
    """Everything that keeps these accounts from the machine, each as variable, value and way out."""
    found = []
    uid_of = {uid: name for name, (uid, *_) in machine.users.items()}
    gid_of = {gid: name for name, (gid, _) in machine.groups.items()}
    shared = {group["name"] for group in groups}
    for user in users:
        name, uid = user["name"], int(user["uid"])
        if not re.fullmatch(rules.name_pattern, name):
            found.append(f"accounts_users: {name!r} is no name for an account and a bucket; use {rules.name_pattern}")
        if not rules.uid_min <= uid <= rules.uid_max:
            found.append(f"accounts_users.{name}.uid: {uid} is the system's; use {rules.uid_min} to {rules.uid_max}")
        if uid_of.get(uid, name) != name:
            found.append(f"accounts_users.{name}.uid: {uid} is {uid_of[uid]}'s on this machine; choose another uid")
        if name in machine.users and machine.users[name][0] != uid:
            found.append(
                f"accounts_users.{name}.uid: {name} has {machine.users[name][0]} on this machine, not {uid}; "
                "name that uid, or choose another name"
            )
        for group in user.get("groups") or []:
            if group not in shared:
                found.append(f"accounts_users.{name}.groups: {group} has no gid; add it to accounts_groups")
        if secrets is not None and name not in secrets and state_of(user) == "present":
            found.append(f"accounts_passwords.{name}: missing; run `appliance secrets` with the inventory's directory")
    for name, gid in wanted_groups(groups, users).items():
        if gid_of.get(gid, name) != name:
            found.append(f"accounts_groups: gid {gid} of {name} is {gid_of[gid]}'s on this machine; choose another")
        if name in machine.groups and machine.groups[name][0] != gid:
            found.append(f"accounts_groups: {name} has gid {machine.groups[name][0]} on this machine, not {gid}")
    for what, entries in (("uid", [int(user["uid"]) for user in users]), ("name", [user["name"] for user in users])):
        found += [
            f"accounts_users: {what} {one} is there twice"
            for one in sorted({e for e in entries if entries.count(e) > 1})
        ]
    return found


def plan(
    machine: Machine,
    groups: Sequence[Mapping[str, Any]],
    users: Sequence[Mapping[str, Any]],
    shell: str,
    home: str,
    rules: Rules,
    secrets: Mapping[str, str] | None = None,
) -> Plan:
    """What makes the machine's accounts as wanted. ``secrets`` are the passwords where they are needed, else None."""
    wrong = faults(machine, groups, users, rules, secrets)
    if wrong:
        return Plan(faults=wrong)
    commands = [
        ["groupadd", "--gid", str(gid), name]
        for name, gid in wanted_groups(groups, users).items()
        if name not in machine.groups
    ]
    for user in users:
        name, uid = user["name"], str(user["uid"])
        if name not in machine.users:
            # Of who has left, the account is all that stays: it keeps the uid from anybody else.
            home_of = "--no-create-home" if state_of(user) == "absent" else "--create-home"
            make = ["useradd", "--uid", uid, "--gid", uid, "--shell", shell, home_of, "--key", "HOME_MODE=0700"]
            commands.append([*make, "--home-dir", f"{home}/{name}", name])
        elif machine.users[name][3] != shell:
            commands.append(["usermod", "--shell", shell, name])
        if changed := lock(machine, user, secrets is not None):
            commands.append(changed)
    listed = {user["name"] for user in users}
    for group in groups:
        members = {user["name"] for user in users if group["name"] in (user.get("groups") or [])}
        # Who was taken off the list keeps what they have.
        members |= machine.groups.get(group["name"], (0, frozenset()))[1] - listed
        if members != set(machine.groups.get(group["name"], (0, frozenset()))[1]):
            commands.append(["gpasswd", "--members", ",".join(sorted(members)), group["name"]])
    return Plan(commands=commands)


def matches(password: str, stored: str) -> bool:
    """Whether the stored hash is that of the password; a password that starts with $ is a hash itself."""
    if password.startswith("$"):
        return password == stored
    if not stored.startswith("$"):
        return False
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    made: bytes | None = library.crypt(password.encode(), stored.encode())
    return made == stored.encode()


def read_machine() -> Machine:
    """The machine's accounts as its name service gives them."""
    # The eighth field is the day on which the account expires; 0 would mean never to some programs.
    shadow = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    return Machine(
        expired=frozenset(line[0] for line in shadow if len(line) > 7 and line[7] == "1"),
        locked=frozenset(line[0] for line in shadow if len(line) > 1 and line[1].startswith("!$")),
        users={entry.pw_name: (entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell) for entry in pwd.getpwall()},
        groups={entry.gr_name: (entry.gr_gid, frozenset(entry.gr_mem)) for entry in grp.getgrall()},
    )


def stale_passwords(passwords: Mapping[str, str]) -> dict[str, str]:
    """Those passwords that are not what /etc/shadow holds."""
    lines = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    stored = {line[0]: line[1] for line in lines if len(line) > 1}
    return {name: text for name, text in passwords.items() if text and not matches(text, stored.get(name, ""))}


def wrong_homes(users: Sequence[Mapping[str, Any]], home: str) -> list[tuple[Path, int]]:
    """Homes that are missing, another's, or open to others, with their owner's uid."""
    found = []
    for user in users:
        if state_of(user) == "absent":
            continue
        path, uid = Path(home) / user["name"], int(user["uid"])
        state = path.stat() if path.exists() else None
        if state is None or state.st_uid != uid or state.st_gid != uid or state.st_mode & 0o7777 != 0o700:
            found.append((path, uid))
    return found


def main() -> None:
    """Make accounts, homes and passwords as wanted; with a fault anywhere, change nothing and fail with all faults."""
    module = AnsibleModule(
        argument_spec={
            "groups": {"type": "list", "elements": "dict", "required": True},
            "users": {"type": "list", "elements": "dict", "required": True},
            "passwords": {"type": "dict", "default": {}, "no_log": True},
            "everybody": {"type": "str", "default": ""},
            "sign_in": {"type": "bool", "default": False},
            "shell": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "name_pattern": {"type": "str", "required": True},
            "uid_min": {"type": "int", "required": True},
            "uid_max": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    users: list[dict[str, Any]] = module.params["users"]
    passwords: dict[str, str] = module.params["passwords"]
    needed = passwords if module.params["sign_in"] else None
    rules = Rules(module.params["name_pattern"], module.params["uid_min"], module.params["uid_max"])
    shell, home = module.params["shell"], module.params["home"]
    machine = read_machine()
    work = plan(machine, module.params["groups"], users, shell, home, rules, needed)
    if work.faults:
        module.fail_json(msg=f"Nothing was changed: {'; '.join(work.faults)}", faults=work.faults)
    done = [" ".join(command) for command in work.commands]
    if not module.check_mode:
        for command in work.commands:
            module.run_command(command, check_rc=True)
    for path, uid in wrong_homes(users, home):
        if not module.check_mode:
            path.mkdir(mode=0o700, exist_ok=True)
            path.chmod(0o700)
            os.chown(path, uid, uid)
        done.append(f"home {path}")
    # A password that is set opens the account again.
    open_ones = [user["name"] for user in users if state_of(user) == "present"]
    for name, text in stale_passwords({name: passwords.get(name, "") for name in open_ones}).items():
        if not module.check_mode:
            hashed = ["--encrypted"] if text.startswith("$") else []
            # run_command ends the data with a newline itself; chpasswd takes a second one for a user without a name.
            module.run_command(["chpasswd", *hashed], data=f"{name}:{text}", check_rc=True)
        done.append(f"password of {name}")
    absent = [Path(home) / user["name"] for user in users if state_of(user) == "absent"]
    module.exit_json(
        changed=bool(done),
        done=done,
        unlisted=unlisted(machine, users, module.params["everybody"]),
        waiting=[str(path) for path in absent if path.exists()],
    )


if __name__ == "__main__":
    main()
