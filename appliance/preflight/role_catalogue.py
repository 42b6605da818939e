"""What the roles and playbooks say about their variables, read from the files that define them.

No second list is kept: which variables a role needs is in its ``meta/argument_specs.yml``, what their values may be in
``meta/values.yml`` beside it, its defaults are in ``defaults/main.yml``, the roles that it depends on are in
``meta/main.yml`` and in tasks that include one, what listens on which port is in ``__ROLE_listeners`` of its
``vars/main.yml``, and which machines it runs on is in the playbooks that ``site.yml`` imports.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from appliance.preflight.rules import Rule

# Options named so are secrets even where their author forgot `no_log`: their values are never asked for.
SECRET_NAME = re.compile(r"(secret|token|password|passwd|key)s?$")
# A default that is nothing but another variable: the role needs that one from the inventory.
REFERENCE = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)(\.\w+)*\s*\}\}")
# Ansible's own variables that the checks look at.
CONNECTION = ("ansible_host", "ansible_python_interpreter", "ansible_user")
# Set by Ansible itself for every machine.
MAGIC = re.compile(r"ansible_|inventory_hostname|group|hostvars|play_hosts|role_path|playbook_dir|lookup|omit")


@dataclasses.dataclass(frozen=True)
class Option:
    """One documented variable of a role. Where it is a list of mappings, ``options`` are those of each of them."""

    name: str
    required: bool
    type: str
    choices: tuple[object, ...]
    description: str
    secret: bool
    elements: str = ""
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Listener:
    """A port, or a range of them, of one group's machines.

    ``what`` says in words what listens there. ``variable`` holds the port, or the first of those up to ``last``; where
    no variable does, ``port`` is the port itself. ``sources`` are who connects, ``units`` the beginnings of the names
    of the systemd units that may hold it; where there are none, anybody may. An ``unprivileged`` one may be held by a
    researcher's process.
    """

    what: str
    group: str
    variable: str
    units: tuple[str, ...]
    last: str = ""
    port: int = 0
    protocol: str = "tcp"
    sources: tuple[str, ...] = ()
    unprivileged: bool = False

    @property
    def name(self) -> str:
        """What a fault calls it: its variable, or the port that is always the same."""
        return self.variable or f"port {self.port}"


@dataclasses.dataclass(frozen=True)
class Play:
    """A role that a playbook runs, and the ``hosts:`` pattern that it runs on."""

    pattern: str
    role: str


@dataclasses.dataclass(frozen=True)
class RoleCatalogue:
    """All roles, their options and defaults, and the plays of the site.

    ``references``: role -> variable that it takes from the inventory -> its own variable that refers to it.
    ``dependencies``: role -> the roles whose variables it has as well. ``provided``: what plays and tasks set on the
    way. ``rules``: variable -> what its values may be; ``LIST.KEY`` is that of a list's entries. ``renamed``: variable
    of an earlier release -> what to set in its place. ``dropped``: variables of earlier releases that nothing reads any
    more, and that may stay where they are.
    """

    options: dict[str, dict[str, Option]]
    defaults: dict[str, Any]
    references: dict[str, dict[str, str]]
    plays: tuple[Play, ...]
    dependencies: dict[str, frozenset[str]]
    listeners: tuple[Listener, ...]
    provided: frozenset[str]
    rules: Mapping[str, Rule] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dropped: frozenset[str] = frozenset()

    @property
    def roles(self) -> frozenset[str]:
        """The names of all roles of the tree, those without documented variables too."""
        return frozenset(self.options)

    def known(self, name: str) -> bool:
        """Tell whether a role documents the variable ``name``, takes it from the inventory, is given it, or had it."""
        return (
            any(name in options for options in self.options.values())
            or any(name in found for found in self.references.values())
            or name in self.defaults
            or name in self.provided
            or name in self.dropped
        )

    def plays_of(self, variable: str) -> list[Play]:
        """Return the plays of the roles that have ``variable``, and of what depends on them.

        A role has it that documents it, or makes one of its own of it.
        """
        owners = {role for role, options in self.options.items() if variable in options}
        owners |= {role for role, found in self.references.items() if variable in found}
        return [play for play in self.plays if self.with_dependencies(play.role) & owners]

    def with_dependencies(self, role: str) -> set[str]:
        """Return ``role``, the roles that it depends on, and those that they depend on."""
        found = {role}
        waiting = [role]
        while waiting:
            more = self.dependencies.get(waiting.pop(), frozenset()) - found
            found |= more
            waiting += more
        return found

    @property
    def public_variables(self) -> list[str]:
        """The variables whose values a check may see, sorted: every documented one that is no secret."""
        names = {name for options in self.options.values() for name, option in options.items() if not option.secret}
        names.update(name for found in self.references.values() for name in found if not SECRET_NAME.search(name))
        return sorted(names | set(CONNECTION))

    @property
    def secret_patterns(self) -> dict[str, str]:
        """The patterns that secrets have to match: whether they do is told to the checks, and nothing else of them."""
        public = set(self.public_variables)
        return {name: rule.pattern for name, rule in self.rules.items() if name not in public and rule.pattern}

    @property
    def compared_defaults(self) -> list[str]:
        """The variables whose default is an expression, and whose value others are compared with."""
        others = {other for rule in self.rules.values() for other in (rule.at_most, rule.less_than, rule.one_of)}
        named = (others & self.defaults.keys()) | {
            name for name, rule in self.rules.items() if rule.at_most or rule.less_than or rule.one_of
        }
        return sorted(name for name in named if "{{" in str(self.defaults.get(name, "")))

    @classmethod
    def read(cls, root: Path) -> RoleCatalogue:
        """Read ``root/roles`` and the playbooks that ``root/site.yml`` imports.

        Raises FileNotFoundError where ``site.yml`` or a playbook that it imports is missing, `CatalogueError` where a
        file is no YAML.
        """
        options: dict[str, dict[str, Option]] = {}
        defaults: dict[str, Any] = {}
        references: dict[str, dict[str, str]] = {}
        provided: set[str] = set()
        dependencies: dict[str, frozenset[str]] = {}
        listeners: list[Listener] = []
        rules: dict[str, Rule] = {}
        renamed: dict[str, str] = {}
        dropped: set[str] = set()
        for role in sorted((root / "roles").iterdir()):
            options[role.name] = _options(_load(role / "meta/argument_specs.yml"))
            said = _load(role / "meta/values.yml") or {}
            rules |= {name: Rule.of(name, entry) for name, entry in (said.get("values") or {}).items()}
            renamed |= said.get("renamed") or {}
            dropped.update(said.get("dropped") or ())
            own = _load(role / "defaults/main.yml") or {}
            defaults.update(own)
            dependencies[role.name] = _dependencies(_load(role / "meta/main.yml"))
            inner = _load(role / "vars/main.yml") or {}
            listeners += [_listener(entry) for entry in inner.get(f"__{role.name}_listeners", [])]
            references[role.name] = {target: name for name, value in own.items() for target in _referred(value)}
            for task in (task for file in sorted(role.glob("tasks/*.yml")) for task in _each(_load(file))):
                included = _included(task)
                dependencies[role.name] |= included
                provided.update(_set_facts(task), task.get("vars", {}) if included else ())
        plays: list[Play] = []
        for entry in _load(root / "site.yml", required=True):
            for play in _load(root / str(entry.get("import_playbook", "")), required=True):
                provided.update(play.get("vars", {}))
                for item in play.get("roles", []):
                    role_name = item if isinstance(item, str) else str(item.get("role", item.get("name", "")))
                    provided.update(() if isinstance(item, str) else item.get("vars", {}))
                    plays.append(Play(pattern=_pattern(play["hosts"]), role=role_name))
        references = {
            role: {target: name for target, name in found.items() if target not in defaults and target not in provided}
            for role, found in references.items()
        }
        return cls(
            options,
            defaults,
            references,
            tuple(plays),
            dependencies,
            tuple(listeners),
            frozenset(provided),
            rules,
            renamed,
            frozenset(dropped),
        )


def _load(path: Path, *, required: bool = False) -> Any:
    if not required and not path.is_file():
        return None
    try:
        return yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path}: is no valid YAML: {error}") from error


class CatalogueError(ValueError):
    """A role's or playbook's file cannot be read. The message names it."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one is ten times faster
    """Reads Ansible's own tags (``!vault``, ``!unsafe``) as nothing: their values are not looked at."""


_Loader.add_multi_constructor("!", lambda *_: None)


def _pattern(hosts: object) -> str:
    return ":".join(str(part) for part in hosts) if isinstance(hosts, list) else str(hosts)


def _dependencies(meta: Any) -> frozenset[str]:
    entries = (meta or {}).get("dependencies") or []
    return frozenset(str(entry if isinstance(entry, str) else entry["role"]) for entry in entries)


def _listener(entry: Any) -> Listener:
    return Listener(
        what=str(entry["what"]),
        group=str(entry["group"]),
        variable=str(entry.get("variable", "")),
        units=tuple(entry["units"]),
        last=str(entry.get("last", "")),
        port=int(entry.get("port", 0)),
        protocol=str(entry["protocol"]),
        sources=tuple(entry["from"]),
        unprivileged=bool(entry.get("unprivileged", False)),
    )


def _options(specs: Any) -> dict[str, Option]:
    """Return the options of a role's first entry point: `main`, or that of a role without tasks."""
    entry: dict[str, Any] = next(iter(((specs or {}).get("argument_specs") or {}).values()), {})
    return {name: _option(name, spec) for name, spec in (entry.get("options") or {}).items()}


def _option(name: str, spec: Any) -> Option:
    text = spec.get("description", "")
    return Option(
        name=name,
        required=bool(spec.get("required", False)),
        type=str(spec.get("type", "str")),
        choices=tuple(spec.get("choices", ())),
        description=" ".join(text) if isinstance(text, list) else str(text),
        secret=bool(spec.get("no_log", False)) or SECRET_NAME.search(name) is not None,
        elements=str(spec.get("elements", "")),
        options={part: _option(part, inner) for part, inner in (spec.get("options") or {}).items()},
    )


def _referred(value: object) -> Iterator[str]:
    found = REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found and not MAGIC.match(found[1]):
        yield found[1]


def _each(tasks: Any) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a file, those of its blocks included."""
    for task in tasks or []:
        yield task
        for key in ("block", "rescue", "always"):
            yield from _each(task.get(key))


def _set_facts(task: dict[str, Any]) -> Iterator[str]:
    """Yield the names that a task sets as facts."""
    for key in ("set_fact", "ansible.builtin.set_fact"):
        yield from task.get(key, {})


def _included(task: dict[str, Any]) -> frozenset[str]:
    """Return the role whose tasks a task runs."""
    words = ("include_role", "import_role")
    named = [task[key] for word in words for key in (word, f"ansible.builtin.{word}") if key in task]
    return frozenset(str(entry["name"]) for entry in named)
