"""A role's argument specs, and whether they say what its defaults are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


class Unsafe(str):
    """A text that Ansible leaves as it is: what ``!unsafe`` stands before."""

    __slots__ = ()


class _Loader(yaml.SafeLoader):
    """Reads ``!unsafe`` as `Unsafe`."""


def _unsafe(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Unsafe:
    return Unsafe(loader.construct_scalar(node))


_Loader.add_constructor("!unsafe", _unsafe)


@dataclass(frozen=True)
class RoleSpecs:
    """A role as its own files describe it.

    ``description`` is of meta/main.yml, ``entry_points`` are of meta/argument_specs.yml, the first of them being that
    of the whole role; ``values`` are of meta/values.yml, ``defaults`` of defaults/main.yml, ``dependencies`` the names
    of roles.
    """

    name: str
    description: str
    dependencies: tuple[str, ...]
    entry_points: Mapping[str, Any]
    defaults: Mapping[str, Any]
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> Mapping[str, Any]:
        """The first entry point; empty where there is none."""
        return next(iter(self.entry_points.values()), {})

    @property
    def options(self) -> Mapping[str, Any]:
        """The documented variables of the first entry point, by name."""
        return self.main.get("options") or {}

    @classmethod
    def read(cls, role: Path) -> RoleSpecs:
        """Read a role's directory; what is not there is empty."""
        meta = _load(role / "meta/main.yml")
        needed = [entry if isinstance(entry, str) else entry["role"] for entry in meta.get("dependencies") or []]
        return cls(
            name=role.name,
            description=str((meta.get("galaxy_info") or {}).get("description", "")),
            dependencies=tuple(needed),
            entry_points=_load(role / "meta/argument_specs.yml").get("argument_specs") or {},
            defaults=_load(role / "defaults/main.yml"),
            values=_load(role / "meta/values.yml").get("values") or {},
        )

    def limits(self, name: str) -> str:
        """What meta/values.yml limits the numbers and sizes of a variable to, in words; empty where it does not."""
        rule = self.values.get(name) or {}
        words = {"min": "at least {}", "above": "above {}", "max": "at most {}"}
        words |= {"at_most": "at most `{}`", "less_than": "less than `{}`", "one_of": "one of `{}`"}
        return ", ".join(text.format(rule[key]) for key, text in words.items() if key in rule)

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the specs, each fault with the file that is to be mended."""
        where = f"roles/{self.name}/meta/argument_specs.yml"
        if not self.entry_points:
            yield f"{where}: is not there, or holds no entry point"
            return
        if self.main.get("short_description") != self.description or not self.description:
            yield f"{where}: short_description is not the description of meta/main.yml, {self.description!r}"
        for name, option in self.options.items():
            if not option.get("description"):
                yield f"{where}: {name} has no description"
            if name in self.defaults or not name.startswith(f"{self.name}_"):
                continue
            if not option.get("required"):
                yield f"{where}: {name} is neither required nor in defaults/main.yml"
        for name, value in self.defaults.items():
            yield from (f"{where}: {name} {fault}" for fault in _faults_of(self.options.get(name), value))


def _faults_of(option: Mapping[str, Any] | None, value: object) -> Iterator[str]:
    """Yield how the spec of a variable differs from its default."""
    if option is None:
        yield "is missing, and in defaults/main.yml"
    elif option.get("required"):
        yield "is required, and has a default in defaults/main.yml"
    elif "default" not in option:
        yield f"states no default, and defaults/main.yml has {value!r}"
    elif json.dumps(option["default"]) != json.dumps(value):
        yield f"states the default {option['default']!r}, and defaults/main.yml has {value!r}"
    elif not _untouched(option["default"]):
        yield "states an expression without !unsafe, which the argument check would evaluate and could show"


def _untouched(value: object) -> bool:
    """Tell whether Ansible evaluates no part of a spec's default."""
    if isinstance(value, Mapping):
        return all(_untouched(part) for part in value.values())
    if isinstance(value, list):
        return all(_untouched(part) for part in value)
    return isinstance(value, Unsafe) or not isinstance(value, str) or "{{" not in value


def _load(path: Path) -> Mapping[str, Any]:
    """Return the mapping in a YAML file; empty where there is none."""
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) if path.is_file() else {}  # noqa: S506  (safe)
    return found or {}
