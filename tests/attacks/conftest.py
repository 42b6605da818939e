"""Attacks of one researcher upon another, on the converged rack that APPLIANCE_RACK names (default: rack)."""

from __future__ import annotations

import sys
from pathlib import Path

# What reaches the facility, its researchers and their notebooks is that of the rack's own tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "rack"))
