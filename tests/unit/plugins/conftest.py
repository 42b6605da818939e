"""Makes the project's Ansible modules importable by name, and runs them on this machine as Ansible would."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

PLUGINS = Path(__file__).parents[3] / "plugins"
sys.path.insert(0, str(PLUGINS / "modules"))
# Ansible packs these beside its own module_utils when it sends a module to a machine.
ansible.module_utils.__path__.append(str(PLUGINS / "module_utils"))


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs a module with arguments and returns what it answers, whether it failed or not."""

    def run(module: ModuleType, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        settings = {"_ansible_check_mode": check, "_ansible_remote_tmp": str(tmp_path / ".ansible")}
        with patch_module_args({**arguments, **settings}), pytest.raises(SystemExit):
            module.main()
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    return run
