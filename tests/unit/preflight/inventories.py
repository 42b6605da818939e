"""Requests to the preflight about whole inventories, with their variables as Ansible itself evaluates them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import preflight_values
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from appliance.inventory_secrets import completed
from appliance.preflight import Facility, Fault, judge
from appliance.preflight.role_catalogue import RoleCatalogue

PROJECT = Path(__file__).parents[3]


@cache
def catalogue() -> RoleCatalogue:
    return RoleCatalogue.read(PROJECT)


@cache
def secrets() -> dict[str, Any]:
    """What `appliance secrets` adds."""
    return completed({}, ["alice", "bob"])


@cache
def roles() -> dict[str, Any]:
    return preflight_values.role_variables(DataLoader(), PROJECT / "roles")


def request_about(inventory: Path, **live: dict[str, Any]) -> dict[str, Any]:
    """Return the request that the role `preflight` makes of an inventory, and of what its machines said."""
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(inventory)])
    variables = VariableManager(loader=loader, inventory=manager)
    hostvars = HostVars(manager, variables, loader)
    hosts = [host.name for host in manager.get_hosts()]
    found = preflight_values.evaluated(
        Templar(loader=loader), hostvars, catalogue().public_variables, hosts, roles(), catalogue().secret_patterns
    )
    passwords = hostvars.raw_get(hosts[0]).get("accounts_passwords") if hosts else None
    request = {
        "groups": {name: [host.name for host in group.get_hosts()] for name, group in manager.groups.items()},
        "names": {host: sorted(hostvars.raw_get(host)) for host in hosts},
        "hostvars": found["values"],
        "defaults": found["defaults"],
        "errors": found["errors"],
        "fits": found["fits"],
        "password_names": list(passwords or {}),
        "sources": [str(inventory)],
        "live": live,
    }
    as_read: dict[str, Any] = json.loads(json.dumps(request))
    return as_read


@dataclasses.dataclass(frozen=True)
class Site:
    """A copy of an inventory, to be changed."""

    root: Path

    def change(self, remove: Iterable[str] = (), host: str = "", **variables: Any) -> None:
        """Set and remove variables: of ``host``, or of all machines."""
        for path in sorted((self.root / "group_vars/all").glob("*.yml")):
            found = yaml.safe_load(path.read_text()) or {}
            if found.keys() & {*remove, *variables}:
                kept = {name: value for name, value in found.items() if name not in {*remove, *variables}}
                path.write_text(yaml.safe_dump(kept, sort_keys=False))
        if variables:
            folder = self.root / (f"host_vars/{host}" if host else "group_vars/all")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "changed.yml").write_text(yaml.safe_dump(variables, sort_keys=False))

    def request(self, **live: dict[str, Any]) -> dict[str, Any]:
        return request_about(self.root, **live)

    def faults(self, **live: dict[str, Any]) -> list[Fault]:
        return judge(Facility.from_request(self.request(**live), catalogue()))


def example(root: Path) -> Site:
    """A copy of the example with secrets (in clear), as `appliance secrets` would add them."""
    shutil.copytree(PROJECT / "inventories/example", root)
    (root / "group_vars/all/secrets.yml").write_text(yaml.safe_dump(secrets(), sort_keys=False))
    return Site(root)
