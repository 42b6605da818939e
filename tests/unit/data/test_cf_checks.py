"""What a dataset does not say, by the CF conventions, is told with the variable, and copied as it is."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import xarray as xr
from s3_endpoint import S3Endpoint

from appliance.data import cf_checks, ingest
from appliance.data.described import Described

NUMBERS = np.arange(3.0)


def told(**variables: xr.Variable) -> list[str]:
    return list(cf_checks.told(Described("s3://alice/one.nc", variables, {})))


TIME = xr.Variable("time", NUMBERS, {"units": "days since 2000-01-01", "standard_name": "time"})
GOOD = xr.Variable("time", NUMBERS, {"units": "K", "long_name": "temperature"})


def test_nothing_is_told_of_what_is_as_it_should_be() -> None:
    time = TIME.copy()
    time.attrs |= {"bounds": "time_bnds", "calendar": "noleap"}
    tas = GOOD.copy()
    tas.attrs |= {"grid_mapping": "crs", "coordinates": "height name", "ancillary_variables": "flag"}
    flag = xr.Variable("time", NUMBERS.astype("i1"), {"flag_values": [0, 1], "long_name": "quality"})
    height = xr.Variable((), 2.0, {"units": "m", "standard_name": "height"})
    name = xr.Variable("time", np.array(["a", "b", "c"], object), {"long_name": "station"})
    bounds, crs = xr.Variable(("time", "nv"), np.zeros((3, 2))), xr.Variable((), 0, {"grid_mapping_name": "x"})
    assert told(time=time, tas=tas, time_bnds=bounds, crs=crs, flag=flag, height=height, name=name) == []


@pytest.mark.parametrize(
    ("name", "variable", "message"),
    [
        ("tas", xr.Variable("time", NUMBERS, {"long_name": "t"}), "tas: has no units (CF 3.1)"),
        ("tas", xr.Variable("time", NUMBERS, {"units": "K"}), "tas: has neither a standard_name nor a long_name"),
        (
            "time",
            TIME.copy(data=[0.0, 2.0, 1.0]),
            "time: runs neither upward nor downward all along, as a coordinate has to",
        ),
        ("time", TIME.copy(data=[0.0, np.nan, 1.0]), "time: has missing values"),
        (
            "time",
            xr.Variable("time", NUMBERS, {**TIME.attrs, "calendar": "martian"}),
            "time: its calendar 'martian' is none of the conventions'",
        ),
        (
            "time",
            xr.Variable("time", NUMBERS, {**TIME.attrs, "bounds": "lost"}),
            "time: its attribute bounds names lost, which is not there",
        ),
        (
            "tas",
            xr.Variable("time", NUMBERS, {**GOOD.attrs, "coordinates": "time lost"}),
            "tas: its attribute coordinates names lost, which is not there",
        ),
        (
            "time",
            xr.Variable("time", NUMBERS, {**TIME.attrs, "bounds": "tas"}),
            "time: its bounds, tas, have the dimensions ('time',), not its own and one more",
        ),
    ],
)
def test_each_breach_is_told(name: str, variable: xr.Variable, message: str) -> None:
    found = told(**{"time": TIME, "tas": GOOD, name: variable})
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_copy_tells_and_keeps_it(endpoint: S3Endpoint) -> None:
    path = endpoint.folder / "alice/one.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        file.createVariable("t", "f4", ("x",))[:] = NUMBERS
    said: list[str] = []
    ingest(path, "s3://alice/made", tell=said.append)
    assert "t: has no units (CF 3.1)" in said
    assert "units" not in xr.open_zarr("s3://alice/made").t.attrs


def test_an_axis_too_large_to_be_at_hand_is_not_judged_by_what_stands_for_it() -> None:
    """Of a coordinate that is read later the values here are zeros."""
    time = TIME.copy(data=np.zeros(3))
    assert list(cf_checks.told(Described("s3://alice/one.nc", {"time": time}, {}, left=frozenset({"time"})))) == []
