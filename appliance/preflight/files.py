"""Checks of the inventory's files: of what YAML reads without a word, and Ansible then knows nothing of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

ENCRYPTED = b"$ANSIBLE_VAULT;"
FOLDERS = ("group_vars", "host_vars")
SUFFIXES = ("", ".yml", ".yaml")
_MERGE = "tag:yaml.org,2002:merge"


def duplicate_keys(facility: Facility) -> Iterator[Fault]:
    """A key stands once in its mapping: of two, the second alone has an effect."""
    for path in dict.fromkeys(path for source in facility.sources for path in _files(Path(source))):
        content = path.read_bytes()
        if content.startswith(ENCRYPTED):
            continue  # `appliance secrets` writes these
        try:
            root = yaml.compose(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError:
            continue  # Ansible has said so already
        for key, first, second in _twice(root):
            yield Fault(key, f"{path}, lines {first} and {second}", "remove one of them: only the second has an effect")


def _files(source: Path) -> Iterator[Path]:
    """Yield the files of variables and machines that Ansible reads for an inventory; programs are none of them."""
    folder = source if source.is_dir() else source.parent
    tops = sorted(folder.iterdir()) if source.is_dir() else [source]
    found = [path for path in tops if path.suffix in SUFFIXES[1:]]
    found += [path for name in FOLDERS for path in sorted((folder / name).rglob("*")) if path.suffix in SUFFIXES]
    yield from (path for path in found if path.is_file() and not path.name.startswith("."))


def _twice(root: yaml.Node | None) -> Iterator[tuple[str, int, int]]:
    """Yield each key that a mapping holds twice, with the two lines, from 1."""
    waiting = [root] if root else []
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue  # what an alias names
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                known = (str(key.tag), str(key.value))  # 1 and "1" are two keys
                if known in lines and key.tag != _MERGE:
                    yield str(key.value), lines[known], line
                lines[known] = line
            waiting.append(value)


CHECKS = (duplicate_keys,)
