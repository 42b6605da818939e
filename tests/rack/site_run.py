"""Ansible on the converged rack, and its secrets to look for in what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machines import FACILITY, STORES, ask

from appliance import inventory_secrets

PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class PlayRun:
    """How a run of a playbook ended: its exit status, everything it said, and changes and failures by machine."""

    status: int
    said: str
    changed: Mapping[str, int]
    failed: Mapping[str, int]

    @property
    def changes(self) -> list[str]:
        """What the run changed: the tasks, each with what it said of a machine."""
        found, task = [], ""
        for line in self.said.splitlines():
            task = line.strip("* ") if line.startswith(("TASK", "RUNNING HANDLER")) else task
            if line.startswith("changed:"):
                found.append(f"{task}: {line}")
        return found


def ceph(*words: str) -> Any:
    """What the cluster answers to `ceph WORDS`."""
    return json.loads(ask(STORES[0], f"ceph {' '.join(words)} --format json 2>/dev/null"))


def play(playbook: str, *arguments: str, **variables: object) -> PlayRun:
    """Run a playbook of the project on the rack, with further variables."""
    command = [str(PROGRAMS / "ansible-playbook"), str(PROJECT / "playbooks" / playbook)]
    command += [*arguments, "--extra-vars", json.dumps(variables)]
    # Molecule forces colours upon its children, and colours hide the recap from the expression below.
    environment = FACILITY.environment | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=\d+\s+failed=(\d+)", done.stdout, re.MULTILINE)
    return PlayRun(
        done.returncode,
        done.stdout + done.stderr,
        changed={name: int(changed) for name, changed, _ in recap},
        failed={name: int(failed) for name, _, failed in recap},
    )


def values(found: Any) -> Iterator[str]:
    """Every text in nested dictionaries."""
    if isinstance(found, dict):
        for value in found.values():
            yield from values(value)
    else:
        yield str(found)


def site_secrets() -> dict[str, str]:
    """Everything that no log may hold, by what it is: the vault, and the keys that the cluster made."""
    vault = inventory_secrets.read(FACILITY.secrets, FACILITY.vault_password.read_text().strip())
    vault.pop("ceph_fsid")
    vault.pop("certificates_ca_certificate", None)
    # Of a key of several lines, one: what is searched for is searched line by line.
    found = {f"vault {number}": (value.splitlines() * 3)[2] for number, value in enumerate(values(vault)) if value}
    for user in ask("head1", "ls /etc/appliance/s3").split():
        found[f"s3 {user}"] = ask("head1", f"sed -n 's/^aws_secret_access_key = //p' /etc/appliance/s3/{user}").strip()
    for entry in ceph("auth", "ls")["auth_dump"]:
        found[f"cephx {entry['entity']}"] = entry["key"]
    return found
