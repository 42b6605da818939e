#!/usr/bin/python3
"""Ansible module: several small files in one go."""

from __future__ import annotations

import grp
import os
import pwd
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: place_files
short_description: Make sure that small files hold the given texts
description:
  - All of a role's files in one step, with the directories that they need. Files that are not named stay.
  - All files are checked before the first is put in place, so a text that its program refuses changes nothing.
  - Texts that are secret need C(no_log) on the task.
options:
  files:
    description:
      - Files, each with C(path) and C(content), and as needed C(mode) (0644), C(owner) and C(group) (root), C(validate)
        (a list of words, C(%s) for the file) and C(directory_mode) (0755), which a missing directory gets.
    type: list
    elements: dict
    required: true
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Write a unit's settings
  place_files:
    files:
      - path: /etc/systemd/system/haproxy.service.d/appliance.conf
        content: "{{ lookup('ansible.builtin.template', 'slice.conf.j2') }}"
"""
RETURN = r"""
written:
  description: Paths of the files that changed.
  returned: always
  type: list
"""


class File:
    """One file as it is wanted; raises KeyError for an owner or group that the machine does not have."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.path = Path(wanted["path"])
        self.content: str = wanted["content"]
        self.mode = int(str(wanted.get("mode", "0644")), 8)
        self.directory_mode = int(str(wanted.get("directory_mode", "0755")), 8)
        self.uid = pwd.getpwnam(wanted.get("owner", "root")).pw_uid
        self.gid = grp.getgrnam(wanted.get("group", "root")).gr_gid
        self.validate: list[str] = wanted.get("validate", [])

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
        if not self.path.parent.exists():
            self.path.parent.mkdir(parents=True)
            self.path.parent.chmod(self.directory_mode)
            os.chown(self.path.parent, self.uid, self.gid)

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
                status, out, err = module.run_command([word.replace("%s", str(draft)) for word in file.validate])
                if status != 0:
                    module.fail_json(
                        msg=f"{file.path}: `{' '.join(file.validate)}` refuses it: {err.strip() or out.strip()}"
                    )
        for file, draft in drafts:
            draft.replace(file.path)
    finally:
        for _, draft in drafts:
            draft.unlink(missing_ok=True)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=True,
    )
    try:
        stale = [file for file in map(File, module.params["files"]) if not file.settled()]
        before = [file.path.read_text() if file.path.exists() else "" for file in stale]
        if not module.check_mode:
            place(module, stale)
    except (KeyError, OSError) as error:
        module.fail_json(msg=f"a file could not be placed: {error}")
    diff = [
        {"before_header": str(file.path), "after_header": str(file.path), "before": old, "after": file.content}
        for file, old in zip(stale, before, strict=True)
    ]
    module.exit_json(changed=bool(stale), written=[str(file.path) for file in stale], diff=diff)


if __name__ == "__main__":
    main()
