"""Requests to the preflight about whole inventories, with their variables as Ansible itself evaluates them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
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


class Loaded:
    """An inventory as Ansible has read it."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        self.loader = DataLoader()
        self.manager = InventoryManager(loader=self.loader, sources=[str(inventory)])
        self.variables = VariableManager(loader=self.loader, inventory=self.manager)

    def request(self, given: Path | None = None, live: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """Return the request that the role `preflight` makes of the inventory.

        The variables in the file ``given`` are those of each machine. ``live`` is what machines said.
        """
        hosts = [host.name for host in self.manager.get_hosts()]
        own = {host: dict(self.manager.get_host(host).vars) for host in hosts}
        for host in hosts if given else ():
            more = self.loader.load_from_file(str(given), cache="none", trusted_as_template=True)
            self.manager.get_host(host).vars = own[host] | more
        request = self._request(hosts) | {"live": dict(live)}
        for host in hosts:
            self.manager.get_host(host).vars = own[host]
        as_read: dict[str, Any] = json.loads(json.dumps(request))
        return as_read

    def _request(self, hosts: list[str]) -> dict[str, Any]:
        hostvars = HostVars(self.manager, self.variables, self.loader)
        asked = catalogue()
        found = preflight_values.evaluated(
            Templar(loader=self.loader), hostvars, asked.public_variables, hosts, roles(), asked.secret_patterns,
            asked.compared_defaults,
        )  # fmt: skip
        groups = {name: [host.name for host in group.get_hosts()] for name, group in self.manager.groups.items()}
        return {
            "groups": groups,
            "names": {host: sorted(hostvars.raw_get(host)) for host in hosts},
            **found,
            "password_names": list(hostvars.raw_get(hosts[0]).get("accounts_passwords") or {}),
            "sources": [str(self.inventory)],
        }


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

    def request(self) -> dict[str, Any]:
        return Loaded(self.root).request()

    def faults(self) -> list[Fault]:
        return judge(Facility.from_request(self.request(), catalogue()))


def example(root: Path) -> Site:
    """A copy of the example with secrets (in clear), as `appliance secrets` would add them."""
    shutil.copytree(PROJECT / "inventories/example", root)
    (root / "group_vars/all/secrets.yml").write_text(yaml.safe_dump(secrets(), sort_keys=False))
    return Site(root)
