"""Which variables are times, by the CF conventions."""

from __future__ import annotations

import re
from collections.abc import Mapping

import xarray as xr

SINCE = re.compile(r"\bsince\b", re.IGNORECASE)


def owner_of(name: str, variables: Mapping[str, xr.Variable]) -> str:
    """Return the variable whose bounds ``name`` holds, and whose units they have (CF, 7.1); else ``name``."""
    owners = [n for n, v in variables.items() if name in (v.attrs.get("bounds"), v.attrs.get("climatology"))]
    return owners[0] if owners and "units" not in variables[name].attrs else name


def is_time(name: str, variables: Mapping[str, xr.Variable]) -> bool:
    """Whether a variable counts from a day, or holds bounds of one that does."""
    return bool(SINCE.search(str(variables[owner_of(name, variables)].attrs.get("units", ""))))
