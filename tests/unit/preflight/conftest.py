"""Fixtures of the preflight's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_site import FILES, sound

from appliance.preflight import Facility, Fault, judge
from appliance.preflight.role_catalogue import RoleCatalogue

# Ansible finds it there by ansible.cfg.
sys.path.insert(0, str(Path(__file__).parents[3] / "plugins/lookup"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="session")
def catalogue(site: Path) -> RoleCatalogue:
    return RoleCatalogue.read(site)


@pytest.fixture
def request_() -> dict[str, Any]:
    return sound()


@pytest.fixture
def judged(catalogue: RoleCatalogue) -> Callable[[dict[str, Any]], list[Fault]]:
    def ask(request: dict[str, Any]) -> list[Fault]:
        return judge(Facility.from_request(request, catalogue))

    return ask
