"""Ansible modules of the roles, imported as Python modules: what they compute needs no machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import ansible.module_utils
import pytest

ROLES = Path(__file__).parents[3] / "roles"
# Where Ansible itself would find them for a role that depends on ceph_modules.
ansible.module_utils.__path__.append(str(ROLES / "ceph_modules" / "module_utils"))


@pytest.fixture(scope="session")
def module() -> Callable[[str, str], ModuleType]:
    """Imports a role's module by the role's and its own name."""

    def load(role: str, name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROLES / role / "library" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up by name.
        importlib.import_module("sys").modules[name] = loaded
        spec.loader.exec_module(loaded)
        return loaded

    return load
