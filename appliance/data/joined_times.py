"""Times of several files: each file may count from another day, a dataset counts from one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from appliance.data import DataError
from appliance.data.described import Described
from appliance.data.times import owner_of


def decoded(each: Described, name: str, times: bool = True) -> np.ndarray:
    """The values of a copied variable, ``times`` as such. Raises ``DataError`` where xarray cannot decode them."""
    variable = each.variables[name].copy(deep=False)
    owner = each.variables[owner_of(name, each.variables)]
    units = {key: owner.attrs[key] for key in ("units", "calendar") if key in owner.attrs}
    variable.attrs = {**variable.attrs, **units}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            coder = xr.coders.CFDatetimeCoder(time_unit="ns") if times else False
            return np.asarray(
                xr.conventions.decode_cf_variable(name, variable, decode_times=coder, decode_timedelta=False).values
            )
    except Exception as error:
        raise DataError(
            f"{each.url}: variable {name!r}: xarray cannot decode it: {error}; way out: leave it out with "
            f"--preprocess drop={name}, or rewrite the file"
        ) from error


def joined_times(name: str, opened: Sequence[Described], dim: str) -> tuple[xr.Variable, str]:
    """Times of all files, as stored: counted from where the first file counts, if they differ; then also its units."""
    first = opened[0]
    variables = [each.variables[name] for each in opened]
    owners = [each.variables[owner_of(name, each.variables)] for each in opened]
    stated = _stated(owners)
    if len(set(stated)) == 1 and len({variable.dtype for variable in variables}) == 1:
        return xr.Variable.concat(variables, dim=dim, combine_attrs="override"), ""
    values = [decoded(each, name) for each in opened]
    kinds = {
        (v.dtype.kind, "" if v.dtype.kind == "M" else calendar) for v, (_, calendar) in zip(values, stated, strict=True)
    }
    if len(kinds) > 1:
        calendars = sorted({calendar for _, calendar in stated})
        raise DataError(
            f"{opened[-1].url}: variable {name!r}: the files have the calendars {', '.join(calendars)}: they cannot be "
            "joined; make a dataset of each"
        )
    axis = variables[0].dims.index(dim)
    # Bounds have the units of what they bound: both are counted in what is fine enough for both.
    name_of_owner = owner_of(name, first.variables)
    family = [
        n for n in first.variables if owner_of(n, first.variables) == name_of_owner and dim in first.variables[n].dims
    ]
    together = np.concatenate([decoded(each, n).reshape(-1) for n in family for each in opened])
    encoding: dict[str, Any] = {key: owners[0].attrs[key] for key in ("units", "calendar") if key in owners[0].attrs}
    encoding["units"] = _encoded(name, xr.Variable("times", together), encoding).attrs["units"]
    whole = xr.Variable(variables[0].dims, np.concatenate(values, axis=axis))
    made = _encoded(name, whole, encoding)
    attributes = dict(variables[0].attrs)
    if "units" in attributes:
        attributes["units"] = made.attrs["units"]
    return xr.Variable(made.dims, made.data, attributes), str(made.attrs["units"])


def _encoded(name: str, variable: xr.Variable, encoding: Mapping[str, Any]) -> xr.Variable:
    """As whole numbers, in units as fine as they need; NaT where the times have one."""
    variable.encoding = dict(encoding)
    if not np.any(variable.isnull()):
        variable.encoding["dtype"] = np.dtype("i8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xr.conventions.encode_cf_variable(variable, name=name)


def _stated(owners: Sequence[xr.Variable]) -> list[tuple[str, str]]:
    """Units and calendar of each."""
    return [(str(v.attrs.get("units")), str(v.attrs.get("calendar", "standard")).lower()) for v in owners]
