#!/usr/bin/python3
"""Ansible module: several small files in one go."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: place_files
short_description: Make sure that small files hold the given texts
description:
  - Files that belong together in one step, with the directories that they need. Files that are not named stay.
  - All files are checked before the first is put in place, so a text that its program refuses changes nothing.
  - Texts that are secret need C(no_log) on the task.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Where the file is., type: path, required: true}
      content:
        description: All that it holds, mostly from C(lookup('ansible.builtin.template', NAME)).
        type: str
        required: true
      mode: {description: "Its mode, in octal.", type: str, default: "0644"}
      owner: {description: Its owner., type: str, default: root}
      group: {description: Its group., type: str, default: root}
      validate:
        description: A command that ends with 0 if the file is right; C(%s) stands for the file.
        type: str
      directory_mode:
        description:
          - The mode, in octal, of the file's directory where there is none yet; it gets the file's owner and group too.
          - Missing directories above it belong to root, with 0755.
        type: str
        default: "0755"
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Write the balancer's configuration and the place of its unit
  place_files:
    files:
      - path: /etc/systemd/system/haproxy.service.d/appliance.conf
        content: "{{ lookup('ansible.builtin.template', 'unit.conf.j2') }}"
      - path: /etc/haproxy/haproxy.cfg
        content: "{{ lookup('ansible.builtin.template', 'haproxy.cfg.j2') }}"
        validate: haproxy -c -f %s
"""
RETURN = r"""
written:
  description: Paths of the files that changed.
  returned: always
  type: list
"""


class File:
    """One file as it is wanted.

    Raises KeyError for an owner or group that the machine does not have, and ValueError for a mode that is none.
    """

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.path = Path(wanted["path"])
        self.content: str = wanted["content"]
        self.mode = int(wanted["mode"], 8)
        self.directory_mode = int(wanted["directory_mode"], 8)
        self.uid = pwd.getpwnam(wanted["owner"]).pw_uid
        self.gid = grp.getgrnam(wanted["group"]).gr_gid
        self.validate: str = wanted["validate"] or ""

    def settled(self) -> bool:
        """Whether the file is as wanted already."""
        if not self.path.exists():
            return False
        state = self.path.stat()
        if (state.st_uid, state.st_gid, state.st_mode & 0o7777) != (self.uid, self.gid, self.mode):
            return False
        return self.path.read_text() == self.content

    def make_directory(self) -> None:
        """Make the file's directory, with the file's owner, if there is none."""
        folder = self.path.parent
        if folder.exists():
            return
        for missing in [path for path in reversed(folder.parents) if not path.exists()]:
            missing.mkdir()
            missing.chmod(0o755)
        folder.mkdir(mode=0o700)
        os.chown(folder, self.uid, self.gid)
        folder.chmod(self.directory_mode)

    def draft(self) -> Path:
        """Write the file beside its place, at no moment readable by more than its mode allows."""
        self.make_directory()
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(self.content)
            os.fchown(file.fileno(), self.uid, self.gid)
            os.fchmod(file.fileno(), self.mode)
        return Path(name)


def place(module: AnsibleModule, stale: list[File]) -> None:
    """Draft all files, have each one's program judge it, and only then put them in place."""
    drafts: list[tuple[File, Path]] = []
    try:
        for file in stale:
            draft = file.draft()
            drafts.append((file, draft))
            if file.validate:
                command = [word.replace("%s", str(draft)) for word in shlex.split(file.validate)]
                status, out, err = module.run_command(command)
                if status != 0:
                    module.fail_json(msg=f"{file.path}: `{file.validate}` refuses it: {err.strip() or out.strip()}")
        for file, draft in drafts:
            draft.replace(file.path)
    finally:
        for _, draft in drafts:
            draft.unlink(missing_ok=True)


def main() -> None:
    """Place the files that are not as wanted, none before all were judged; return their paths and the differences."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "validate": {"type": "str"},
                    "directory_mode": {"type": "str", "default": "0755"},
                },
            },
        },
        supports_check_mode=True,
    )
    try:
        stale = [file for file in map(File, module.params["files"]) if not file.settled()]
        before = [file.path.read_text() if file.path.exists() else "" for file in stale]
        if not module.check_mode:
            place(module, stale)
    except (KeyError, ValueError, OSError) as error:
        module.fail_json(msg=f"a file could not be placed: {error}")
    diff = [
        {"before_header": str(file.path), "after_header": str(file.path), "before": old, "after": file.content}
        for file, old in zip(stale, before, strict=True)
    ]
    module.exit_json(changed=bool(stale), written=[str(file.path) for file in stale], diff=diff)


if __name__ == "__main__":
    main()
