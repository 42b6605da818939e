#!/usr/bin/python3
"""Ansible module: a home becomes somebody else's, or an archive's."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: home_handed_over
short_description: Move a home with all that is in it to another place and another owner
description:
  - Files get their new owner where they are, and then move as a whole. A run that was stopped goes on where it was.
  - Between file systems they are copied, the copy is compared with what it was made of, and only then is that removed.
  - What is at the new place already is never touched.
options:
  home: {description: The home., type: path, required: true}
  uid: {description: Uid and gid of whose it was., type: int, required: true}
  to: {description: The new place. Its parent is made where it is not there., type: path, required: true}
  owner: {description: Uid and gid of whose it becomes., type: int, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Give carol's home to dave
  home_handed_over: {home: /home/carol, uid: 2003, to: /home/dave/from-carol, owner: 2004}
"""
RETURN = r"""
files:
  description: How many files and directories changed hands.
  returned: always
  type: int
"""

Run = Callable[..., tuple[int, str, str]]


class HandOverError(Exception):
    """It cannot go on; the message says why, and the way out."""


def give(place: Path, uid: int, owner: int) -> int:
    """Give everything below a directory, and at last the directory, to its new owner; how many were given.

    Directories are gone through by their descriptors and no link is followed, so nothing outside is reached.
    """
    given = 0
    for _, folders, files, descriptor in os.fwalk(place, topdown=False, onerror=_stop, follow_symlinks=False):
        for name in [*folders, *files]:
            given += _give(name, uid, owner, descriptor)
    return given + _give(str(place), uid, owner, None)


def _stop(error: OSError) -> None:
    raise error


def _give(name: str, uid: int, owner: int, folder: int | None) -> int:
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if uid not in (state.st_uid, state.st_gid):
        return 0
    new = [owner if number == uid else -1 for number in (state.st_uid, state.st_gid)]
    os.chown(name, *new, dir_fd=folder, follow_symlinks=False)
    return 1


def count(place: Path) -> int:
    """How many files and directories are below a directory, itself included."""
    return 1 + sum(len(folders) + len(files) for _, folders, files in os.walk(place))


def is_near(home: Path, to: Path) -> bool:
    """Whether a home can be moved to its new place at once, as by a directory in it that is moved there and removed.

    Devices do not tell: project quotas and bind mounts part directories of one file system.
    """
    probe, there = home / f".{uuid.uuid4().hex}", to.parent / f".{uuid.uuid4().hex}"
    probe.mkdir(0o700)
    try:
        probe.rename(there)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    else:
        probe = there
        return True
    finally:
        probe.rmdir()


def move(run: Run, home: Path, to: Path) -> None:
    """Move a directory to its new place, whole or not at all. Raises HandOverError."""
    try:
        home.rename(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    part = to.with_name(f".{to.name}.part")
    # By content: what a stopped run left may have the size and the time of what it was to be.
    copy = ["rsync", "--archive", "--hard-links", "--acls", "--xattrs", "--numeric-ids", "--delete", "--checksum"]
    for command in (copy, [*copy, "--dry-run", "--itemize-changes"]):
        status, out, err = run([*command, f"{home}/", f"{part}/"])
        if status != 0:
            raise HandOverError(f"{home} could not be copied to {to}: {err.strip()[-300:]}")
    if out.strip():
        raise HandOverError(f"the copy {part} differs from {home}: {out.strip()[:300]}; run this again")
    part.rename(to)
    # From here on it is done, whatever becomes of this run.
    rest = leftover(home)
    home.rename(rest)
    shutil.rmtree(rest)


def leftover(home: Path) -> Path:
    """What a home is called while it is removed, after its copy has got its new place."""
    return home.with_name(f".{home.name}.handed-over")


def main() -> None:
    """Hand over what is there."""
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path", "required": True},
            "uid": {"type": "int", "required": True},
            "to": {"type": "path", "required": True},
            "owner": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    asked: dict[str, Any] = module.params
    home, to = Path(asked["home"]), Path(asked["to"])
    if leftover(home).exists() and not module.check_mode:
        shutil.rmtree(leftover(home))
    if not home.exists():
        module.exit_json(changed=False, files=0)
    if os.path.lexists(to):
        module.fail_json(
            msg=f"{to} is there already, and nothing is written over it. Nothing was changed. Way out: give it another "
            "name, and run this again"
        )
    files = count(home)
    if not module.check_mode:
        try:
            # A directory of each level is open at a time.
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            if not to.parent.exists():
                to.parent.mkdir(parents=True)
                to.parent.chmod(0o700)
            # Whose the directory is could put a link there, along which root would write.
            if to.parent.stat().st_uid != 0 and not is_near(home, to):
                module.fail_json(
                    msg=f"{home} and {to.parent} are on different file systems, or in different quotas. Nothing was "
                    "changed. Way out: `archive` in the entry of accounts_users, a directory of root's"
                )
            give(home, asked["uid"], asked["owner"])
            move(module.run_command, home, to)
        except (HandOverError, OSError) as error:
            module.fail_json(msg=f"{home}: {error}")
    module.exit_json(changed=True, files=files)


if __name__ == "__main__":
    main()
