#!/usr/bin/python3
"""Ansible module: units that run hold the credentials that their files have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: current_credentials
short_description: Restart units that hold an older credential than their files have
description:
  - A unit gets its credentials (C(LoadCredential=), systemd.exec(5)) as it starts, and keeps them until it ends. Each
    one that it holds is compared with the file that it comes from, so a restart that an earlier run did not come to is
    made up for.
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
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Have the gateway hold the token that its file has
  current_credentials:
    units: [{name: dask-gateway.service}]
"""
RETURN = r"""
restarted:
  description: The units that held an older one; in a check run, those that would restart.
  returned: always
  type: list
"""

# systemd puts them there, one directory for each unit that runs: systemd.exec(5), CREDENTIALS.
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


def main() -> None:
    """Compare, and restart those that hold an older one."""
    module = AnsibleModule(
        argument_spec={
            "units": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"name": {"type": "str", "required": True}, "answers_at": {"type": "str"}},
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
    asked: list[dict[str, Any]] = module.params["units"]
    for unit in asked:
        name = unit["name"]
        if module.run_command(["systemctl", "--quiet", "is-active", name])[0] != 0:
            continue
        if not holds_older(name, sources(done("systemctl", "cat", name))):
            continue
        restarted.append(name)
        if module.check_mode:
            continue
        # What the files say is what was compared; systemd may have read them before they were changed.
        done("systemctl", "daemon-reload")
        done("systemctl", "restart", name)
        if unit["answers_at"]:
            patience = ["--retry", "60", "--retry-all-errors", "--retry-delay", "1"]
            quiet = ["--silent", "--show-error", "--fail", "--noproxy", "*", "--output", "/dev/null"]
            done("curl", *quiet, *patience, unit["answers_at"])
    module.exit_json(changed=bool(restarted), restarted=restarted)


if __name__ == "__main__":
    main()
