"""Each module's documentation is one that `ansible-doc` shows, and tells of the options that the module takes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
# What a documented option says that the argument check holds too.
FACTS = ("type", "elements", "required", "default", "choices")


@cache
def documentation() -> dict[str, Any]:
    """What `ansible-doc` understands of the modules, by name."""
    command = [Path(sys.executable).parent / "ansible-doc", "--type", "module", "--json"]
    done = subprocess.run(
        [*command, "--module-path", PLUGINS / "modules", *MODULES], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def argument_spec(module: str) -> dict[str, dict[str, Any]]:
    """The literal that the module hands to AnsibleModule."""
    for node in ast.walk(ast.parse((PLUGINS / "modules" / f"{module}.py").read_text())):
        if isinstance(node, ast.keyword) and node.arg == "argument_spec":
            spec: dict[str, dict[str, Any]] = ast.literal_eval(node.value)
            return spec
    raise AssertionError(f"{module}: no call with argument_spec=")


def facts(options: dict[str, Any], inner: str) -> dict[str, Any]:
    """What is said of each option, and of those inside it."""
    found = {}
    for name, option in options.items():
        found[name] = {fact: option[fact] for fact in FACTS if option.get(fact)}
        if inner in option:
            found[name]["options"] = facts(option[inner], inner)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_documented_with_the_options_that_it_takes(module: str) -> None:
    assert facts(documentation()[module]["doc"].get("options", {}), "suboptions") == facts(
        argument_spec(module), "options"
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_shows_an_example_and_what_it_returns(module: str) -> None:
    shown = documentation()[module]
    assert shown["doc"]["description"]
    assert module in shown["examples"]
    assert shown["return"]
