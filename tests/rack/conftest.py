"""The facility on the converged rack that APPLIANCE_RACK names (default: rack)."""

from __future__ import annotations

import pytest
from machines import FACILITY

from appliance.demo.facility import Facility


@pytest.fixture(scope="session")
def facility() -> Facility:
    return FACILITY
