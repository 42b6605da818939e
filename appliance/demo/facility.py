"""The facility as the demo's driver reaches it: its machines, its researchers' passwords, their files on the head."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import yaml  # type: ignore[import-untyped]

from appliance import inventory_secrets
from appliance.hub_front import Front
from appliance.rack import lifecycle
from appliance.rack.model import Rack, existing

PROJECT = Path(__file__).resolve().parents[2]
# Names a further inventory, such as tests/rack/other_ports.yml, whose variables come after those of the rack's.
LAYER_VARIABLE = "APPLIANCE_INVENTORY_LAYER"


class FacilityError(RuntimeError):
    """The facility lacks something that the driver needs; the message says what, and the way out."""


@dataclass(frozen=True)
class Facility:
    """A converged rack, by its name, and the inventory that it was converged with.

    ``layer`` is a further inventory whose variables come after those of ``inventory``, or empty.
    """

    rack_name: str = "rack"
    inventory: Path = PROJECT / "inventories" / "rack"
    layer: str = field(default_factory=lambda: os.environ.get(LAYER_VARIABLE, ""))

    @cached_property
    def rack(self) -> Rack:
        """The rack's machines; raises `appliance.rack.model.RackError` where there is no such rack."""
        return existing(self.rack_name)

    @cached_property
    def front(self) -> Front:
        """Where researchers reach the hub."""
        facts = self.facts
        authority = self._secrets()["certificates_ca_certificate"]
        return Front(
            facts["jupyterhub_url"], self.rack.machine("head1").address, authority, facts["jupyterhub_subdomains"]
        )

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What the roles know about the site: variables of role site_facts, as the inventory sets them."""
        command = ["ansible-inventory", "--host", "head1"]
        environment = self.environment | {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FacilityError(f"{' '.join(command)}: {done.stderr.strip()}")
        told = json.loads(done.stdout)
        defaults = yaml.safe_load((PROJECT / "roles/site_facts/defaults/main.yml").read_text(encoding="utf-8"))
        facts = {name: told.get(name, value) for name, value in defaults.items()}
        facts["jupyterhub_name"] = told["jupyterhub_name"]  # the one that has no default
        return {name: _evaluated(value, facts) for name, value in facts.items()}

    @property
    def cards(self) -> dict[str, str]:
        """Machine → the control host's end of its network card."""
        return {machine.name: machine.card for machine in self.rack.machines()}

    @property
    def vault_password(self) -> Path:
        """The file that opens the inventory's secrets."""
        return self.inventory / ".vault-password"

    @property
    def secrets(self) -> Path:
        """The encrypted file of the inventory's secrets."""
        return self.inventory / "group_vars" / "all" / "secrets.yml"

    @property
    def environment(self) -> dict[str, str]:
        """What Ansible and the project's commands need to know to mean this facility."""
        programs = Path(sys.executable).parent
        return {
            **os.environ,
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            "APPLIANCE_RACK": self.rack_name,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_INVENTORY": ",".join(str(source) for source in (self.inventory, self.layer) if source),
        }

    def password(self, user: str) -> str:
        """Return a researcher's password from the vault; raises `FacilityError` where it holds none."""
        passwords: dict[str, str] = self._secrets().get("accounts_passwords", {})
        if user not in passwords:
            raise FacilityError(f"{self.secrets}: accounts_passwords has no {user!r}, only {sorted(passwords)}")
        return passwords[user]

    def _secrets(self) -> dict[str, Any]:
        try:
            return inventory_secrets.read(self.secrets, self.vault_password.read_text(encoding="ascii").strip())
        except (OSError, inventory_secrets.SecretsError) as error:
            raise FacilityError(f"{error}; `appliance secrets {self.inventory}` makes what is missing") from error

    def run(self, machine: str, *command: str, given: bytes | None = None) -> bytes:
        """Run a command on a machine as root and return what it says; raises `FacilityError` with its error."""
        ssh = [*lifecycle.ssh_command(self.rack, machine), "--", shlex.join(command)]
        done = subprocess.run(ssh, capture_output=True, input=given, check=False)
        if done.returncode:
            raise FacilityError(f"{machine}: {shlex.join(command)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def put(self, user: str, folder: str, files: Iterable[Path]) -> None:
        """Copy files into a folder of a researcher's home on the head, as theirs; other files there are removed."""
        bundle = io.BytesIO()
        with tarfile.open(fileobj=bundle, mode="w") as archive:
            for path in files:
                archive.add(path, arcname=path.name)
        target = f"/home/{user}/{folder}"
        self.run("head1", "rm", "-rf", target)
        self.run("head1", "install", "-d", "-o", user, "-g", user, "-m", "0750", target)
        self.run(
            "head1",
            "tar",
            "-C",
            target,
            "--no-same-owner",
            "--no-same-permissions",
            "-xf",
            "-",
            given=bundle.getvalue(),
        )
        self.run("head1", "chown", "-R", f"{user}:", target)

    def get(self, user: str, folder: str, target: Path) -> None:
        """Copy a folder of a researcher's home on the head to ``target`` on this host."""
        target.mkdir(parents=True, exist_ok=True)
        bundle = self.run("head1", "tar", "-C", f"/home/{user}/{folder}", "-cf", "-", ".")
        with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
            archive.extractall(target, filter="data")


def _evaluated(value: object, facts: Mapping[str, Any]) -> object:
    """Return a fact that is made of others as Ansible would: an expression of their names, or a list of such."""
    if isinstance(value, list):
        return [_evaluated(item, facts) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    # The gateway is on the head: an inventory of the rack has no other machine for it.
    return jinja2.Environment().from_string(value).render(facts, groups={"gateway": ["head1"]})  # noqa: S701  (no HTML)
