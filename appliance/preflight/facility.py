"""The inventory as the checks see it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.preflight.role_catalogue import RoleCatalogue

_MISSING = object()


def whole_number(value: object, otherwise: int) -> int:
    """Return what the inventory calls a number as one, or ``otherwise`` where it is none."""
    text = str(value)
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else otherwise


@dataclasses.dataclass(frozen=True)
class Facility:
    """An inventory, what its machines said, and what the roles ask for.

    ``groups``: group name -> host names. ``names``: host -> names of all its variables. ``values``: host -> its
    public variables. ``defaults``: host -> what roles' defaults are worth there, where the inventory has no value.
    ``errors``: host -> variable -> why it has no value, in Ansible's words. ``fits``: host -> secret -> whether it
    matches its pattern. ``sources``: files and directories of the inventory. ``live``: host -> what the module
    `preflight_facts` found, or ``{"failed": reason}``; hosts that were not asked are not in it.
    """

    groups: Mapping[str, Sequence[str]]
    names: Mapping[str, frozenset[str]]
    values: Mapping[str, Mapping[str, Any]]
    live: Mapping[str, Mapping[str, Any]]
    password_names: frozenset[str]
    catalogue: RoleCatalogue
    defaults: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    errors: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    fits: Mapping[str, Mapping[str, bool]] = dataclasses.field(default_factory=dict)
    sources: Sequence[str] = ()
    _hosts_of: dict[str, list[str]] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_request(cls, request: Mapping[str, Any], catalogue: RoleCatalogue) -> Facility:
        """Build from the request's JSON object, which `appliance.preflight.cli` describes; any part may be absent."""
        values = request.get("hostvars", {})
        names = request.get("names") or {host: list(found) for host, found in values.items()}
        return cls(
            groups=request.get("groups", {}),
            names={host: frozenset(found) for host, found in names.items()},
            values=values,
            live=request.get("live", {}),
            password_names=frozenset(request.get("password_names", ())),
            catalogue=catalogue,
            defaults=request.get("defaults", {}),
            errors=request.get("errors", {}),
            fits=request.get("fits", {}),
            sources=request.get("sources", ()),
        )

    @property
    def hosts(self) -> list[str]:
        """All machines of the inventory, in order of name: the members of ``all``, and whoever has a value."""
        return sorted(set(self.groups.get("all", ())) | set(self.values))

    def members(self, pattern: str) -> list[str]:
        """Return the hosts of a ``hosts:`` pattern made of groups and host names (``a:b``, ``a:!b``), in order.

        Of Ansible's patterns only unions and exclusions are used here: playbooks run roles on groups.
        """
        found: dict[str, None] = {}
        parts = re.split(r"[:,]", pattern)
        for part in sorted(parts, key=lambda part: part.startswith("!")):  # as Ansible does: exclusions come last
            if part.startswith("!"):
                found = {host: None for host in found if host not in self.groups.get(part[1:], [part[1:]])}
                continue
            members = self.hosts if part in {"all", "*"} else self.groups.get(part, [part] * (part in self.hosts))
            found.update(dict.fromkeys(members))
        return list(found)

    def value(self, host: str, variable: str, otherwise: Any = None) -> Any:
        """Return a public variable of a host: the inventory's value, else what the role's default is worth.

        ``otherwise`` is returned where neither is there: where nobody has evaluated a default that is a template, and
        where the inventory's value is not known, as that of a secret or of an expression that is made of facts.
        """
        for known in (self.values, self.defaults):
            found = known.get(host, {}).get(variable, _MISSING)
            if found is not _MISSING:
                return found
        if variable in self.names.get(host, ()):
            return otherwise
        default = self.catalogue.defaults.get(variable, _MISSING)
        if default is _MISSING or (isinstance(default, str) and "{{" in default):
            return otherwise
        return default

    def hosts_of(self, variable: str) -> list[str]:
        """Return the machines whose value of ``variable`` counts: those that a role that has it runs on."""
        if variable not in self._hosts_of:
            patterns = dict.fromkeys(play.pattern for play in self.catalogue.plays_of(variable))
            self._hosts_of[variable] = list(dict.fromkeys(host for one in patterns for host in self.members(one)))
        return self._hosts_of[variable]

    def group_value(self, variable: str, otherwise: Any = None) -> Any:
        """Return a variable of which all machines of its group have the same, as the group's first machine has it.

        `agreement` says where they do not have the same.
        """
        hosts = self.hosts_of(variable)
        return self.value(hosts[0], variable, otherwise) if hosts else otherwise
