"""A researcher's browser at the converged rack that APPLIANCE_RACK names (default: rack)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from appliance.demo.browser import Researcher, chromium
from appliance.demo.facility import Facility

# A researcher's Python on the head, without a browser, is that of the rack's own tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "rack"))


@pytest.fixture(scope="session")
def facility() -> Facility:
    return Facility(os.environ.get("APPLIANCE_RACK", "rack"))


@pytest.fixture(scope="session")
def browser(facility: Facility) -> Iterator[Browser]:
    with chromium(facility.front) as running:
        yield running


@pytest.fixture
def window(browser: Browser, facility: Facility) -> Iterator[Callable[[str], Researcher]]:
    """Opens a browser window for a researcher; each has its own cookies."""
    opened: list[Researcher] = []

    def open_window(user: str) -> Researcher:
        opened.append(Researcher(browser, facility.front, user))
        return opened[-1]

    yield open_window
    for researcher in opened:
        researcher.close()
