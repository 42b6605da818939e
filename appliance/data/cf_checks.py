"""Whether a dataset says what a reader needs to know, by the CF conventions: told, and never refused.

The few rules whose breach makes xarray, or a reader, take values for others (CF Conventions 1.11). A whole checker
(compliance-checker) brings a table of standard names that it wants from the network, and half a dozen libraries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from appliance.data.described import TEXT, Described
from appliance.data.times import is_time, owner_of

# Section 4.4.1, and what it calls them otherwise.
CALENDARS = {
    *("standard", "gregorian", "proleptic_gregorian", "noleap", "365_day", "all_leap", "366_day", "360_day"),
    *("julian", "utc", "tai", "none"),
}
NAMED = ("bounds", "climatology")  # attributes that name one other variable
LISTED = ("coordinates", "ancillary_variables")  # that name several


def told(described: Described) -> Iterator[str]:
    """What is against the conventions, or missing, as lines of text."""
    variables = described.variables
    for name, variable in variables.items():
        if not _is_helper(name, variables):
            yield from (f"{name}: {text}" for text in _of_variable(name, variable, variables))
            if variable.dims == (name,) and variable.dtype.kind not in TEXT and name not in described.left:
                yield from (f"{name}: {text}" for text in _of_axis(np.asarray(variable.values)))


def _is_helper(name: str, variables: Mapping[str, xr.Variable]) -> bool:
    """Whether it is a variable's bounds, or tells of a grid: those need no units."""
    grids = {str(v.attrs.get("grid_mapping", "")) for v in variables.values()}
    return owner_of(name, variables) != name or name in grids or "grid_mapping_name" in variables[name].attrs


def _of_variable(name: str, variable: xr.Variable, variables: Mapping[str, xr.Variable]) -> Iterator[str]:
    attributes = variable.attrs
    is_number = variable.dtype.kind not in TEXT
    is_flag = "flag_values" in attributes or "flag_masks" in attributes
    if is_number and variable.ndim and "units" not in attributes and not is_flag:
        yield "has no units (CF 3.1)"
    if not {"standard_name", "long_name"} & set(attributes) and name not in variable.dims:
        yield "has neither a standard_name nor a long_name (CF 3.2, 3.3)"
    calendar = attributes.get("calendar")
    if is_time(name, variables) and calendar is not None and str(calendar).lower() not in CALENDARS:
        yield f"its calendar {calendar!r} is none of the conventions' (CF 4.4.1)"
    for key in NAMED:
        if key in attributes:
            yield from _of_bounds(key, variable, variables)
    for key in LISTED:
        missing = sorted(set(str(attributes.get(key, "")).split()) - set(variables))
        if missing:
            yield f"its attribute {key} names {', '.join(missing)}, which is not there (CF 5)"


def _of_bounds(key: str, variable: xr.Variable, variables: Mapping[str, xr.Variable]) -> Iterator[str]:
    other = str(variable.attrs[key])
    if other not in variables:
        yield f"its attribute {key} names {other}, which is not there (CF 7.1)"
        return
    bounds = variables[other]
    if bounds.dims[: variable.ndim] != variable.dims or bounds.ndim != variable.ndim + 1:
        yield f"its {key}, {other}, have the dimensions {bounds.dims}, not its own and one more (CF 7.1)"


def _of_axis(values: np.ndarray[Any, Any]) -> Iterator[str]:
    if values.dtype.kind == "f" and bool(np.isnan(values).any()):
        yield "has missing values, which a coordinate may not have (CF 2.5.1)"
    elif len(values) > 1 and not (bool(np.all(values[1:] > values[:-1])) or bool(np.all(values[1:] < values[:-1]))):
        yield "runs neither upward nor downward all along, as a coordinate has to (CF 1.3)"
