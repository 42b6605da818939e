"""Ansible lookup: what variables are worth on machines, with the reason where one is worth nothing."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: preflight_values
author: The appliance's maintainers
short_description: What variables are worth on machines
description:
  - A variable whose expression is wrong ends a play at the first task that reads it. Here it is one finding among
    others, in words.
  - Roles' defaults are known to the expressions, as they are where the roles run.
options:
  _terms: {description: Names of variables., required: true}
  hosts: {description: Names of machines., type: list, elements: str, required: true}
  roles: {description: The directory of the roles., type: path, required: true}
  defaults:
    description: Names of variables whose defaults in the roles are evaluated where the inventory has no value.
    type: list
    elements: str
    default: []
  patterns:
    description: Regular expressions by name of a secret. Whether it matches as a whole is told, and nothing else of it.
    type: dict
    default: {}
"""
EXAMPLES = r"""
- debug:
    msg: "{{ lookup('preflight_values', 'machine_address', hosts=groups['all'], roles=playbook_dir ~ '/../roles') }}"
"""
RETURN = r"""
_raw:
  description:
    - One mapping; C(hostvars), C(defaults), C(errors) and C(fits), each by machine and variable. C(hostvars) are the
      inventory's, C(defaults) the roles'.
"""

Found = dict[str, dict[str, dict[str, Any]]]
# An error of a template ends with where the template stands, line by line.
LONGEST_ERROR = 200
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def role_variables(loader: Any, roles: Path) -> dict[str, Any]:
    """The variables of all roles as their files have them: defaults, and inner ones that defaults are made of."""
    found: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        for path in sorted(roles.glob(f"*/{part}/main.yml")):
            found.update(loader.load_from_file(str(path), cache="all", trusted_as_template=True) or {})
    return found


def evaluated(
    templar: Any, hostvars: Any, names: Iterable[str], hosts: Iterable[str], roles: Mapping[str, Any],
    patterns: Mapping[str, str], defaults: Iterable[str] = (),
) -> Found:  # fmt: skip
    """Return the values of ``names`` on ``hosts``; ``roles`` are variables of roles, ``hostvars`` is Ansible's own.

    What is not in the inventory has no value, and that of its role where it is one of ``defaults``.
    """
    found: Found = {part: {} for part in ("hostvars", "defaults", "errors", "fits")}
    wanted = [*dict.fromkeys(names)]
    made = {*defaults} & roles.keys()
    for host in hosts:
        raw = hostvars.raw_get(host)
        known = ChainMap(raw, {"hostvars": hostvars}, dict(roles))
        inside = templar.copy_with_new_env(available_variables=known)
        for part in found.values():
            part[host] = {}
        for name in [*wanted, *patterns]:
            given = name in raw
            if not given and name not in made:
                continue
            try:
                value = plain(inside.template(raw[name] if given else roles[name]))
            except AnsibleError as error:
                if given and not needs_facts(name, known):
                    found["errors"][host][name] = words(error) if name not in patterns else "it cannot be evaluated"
            else:
                if name in patterns:
                    found["fits"][host][name] = re.fullmatch(patterns[name], str(value)) is not None
                else:
                    found["hostvars" if given else "defaults"][host][name] = value
    return found


def needs_facts(name: str, known: Mapping[str, Any]) -> bool:
    """Whether an expression is made of facts, which Ansible gathers of a machine later, and no preflight does."""
    waiting, seen = [name], {name}
    while waiting:
        words_ = set(NAME.findall(str(known[waiting.pop()])))
        if any(word == "ansible_facts" or (word.startswith("ansible_") and word not in known) for word in words_):
            return True
        waiting += (words_ & known.keys()) - seen - {"hostvars", "groups"}
        seen |= words_
    return False


def plain(value: Any) -> Any:
    """A value as JSON has it, read to its end: an undefined variable inside of it is an error here, not later."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def words(error: Exception) -> str:
    """The first line of an error, without what it adds about Ansible itself."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:LONGEST_ERROR]


class LookupModule(LookupBase):  # type: ignore[misc]
    """Evaluates variables of machines on the control host."""

    def run(self, terms: list[Any], variables: Mapping[str, Any] | None = None, **options: Any) -> list[Found]:
        """Return one mapping, as RETURN says."""
        self.set_options(var_options=variables, direct=options)
        names = [str(name) for term in terms for name in (term if isinstance(term, (list, tuple)) else [term])]
        roles = role_variables(self._loader, Path(self.get_option("roles")))
        hostvars = (variables or {})["hostvars"]
        patterns, made = dict(self.get_option("patterns")), self.get_option("defaults")
        return [evaluated(self._templar, hostvars, names, self.get_option("hosts"), roles, patterns, made)]
