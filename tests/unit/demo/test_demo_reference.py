"""The second calculation, by numpy: right by hand on small fields, and strict about what it compares."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest

from appliance.demo.reference import ComparisonError, Summary, largest_error, summarise

MONTHS = np.array([1, 2, 1, 2])


def test_a_field_small_enough_to_do_by_hand() -> None:
    # One place at the equator and one at 60° north, which weighs half as much.
    values = np.array([[[1.0], [4.0]], [[2.0], [6.0]], [[3.0], [8.0]], [[6.0], [2.0]]])
    found = summarise(values, MONTHS, np.array([0.0, 60.0]))
    assert found.mean == pytest.approx(np.array([[3.0], [5.0]]))
    # The second February less the mean of both.
    assert found.anomaly == pytest.approx(np.array([[2.0], [-2.0]]))
    # Area means 2, 10/3, 14/3, 14/3 less those of their months, 10/3 and 4.
    assert found.series == pytest.approx(np.array([-4 / 3, -2 / 3, 4 / 3, 2 / 3]))


def test_land_counts_in_no_mean() -> None:
    values = np.array([[[1.0, np.nan]], [[2.0, np.nan]], [[3.0, np.nan]], [[6.0, np.nan]]])
    found = summarise(values, MONTHS, np.array([0.0]))
    assert np.isnan(found.mean[0, 1])
    assert found.series == pytest.approx(np.array([-1.0, -2.0, 1.0, 2.0]))


@pytest.fixture
def reference() -> Summary:
    return Summary(np.array([[1.0, np.nan]]), np.array([[0.5, np.nan]]), np.array([1.0, -1.0]))


def written(path: Path, summary: Summary, dtype: str = "f8", leave_out: str = "") -> Path:
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("latitude", 1), ("longitude", 2), ("time", 2)):
            file.createDimension(name, size)
        for name in {"mean", "anomaly", "series"} - {leave_out}:
            dimensions = ("time",) if name == "series" else ("latitude", "longitude")
            file.createVariable(name, dtype, dimensions, fill_value=np.nan)[:] = getattr(summary, name)
    return path


def test_the_largest_difference_of_all_variables_counts(tmp_path: Path, reference: Summary) -> None:
    off = Summary(reference.mean + 1e-6, reference.anomaly, reference.series - 3e-6)
    assert largest_error(reference, written(tmp_path / "a.nc", reference)) == 0
    assert largest_error(reference, written(tmp_path / "b.nc", off)) == pytest.approx(3e-6)


def test_single_precision_is_no_comparison(tmp_path: Path, reference: Summary) -> None:
    with pytest.raises(ComparisonError, match="float32"):
        largest_error(reference, written(tmp_path / "a.nc", reference, dtype="f4"))


def test_other_missing_values_are_no_comparison(tmp_path: Path, reference: Summary) -> None:
    other = Summary(np.array([[np.nan, 1.0]]), reference.anomaly, reference.series)
    with pytest.raises(ComparisonError, match="mean is missing at other places"):
        largest_error(reference, written(tmp_path / "a.nc", other))


def test_a_missing_variable_is_named(tmp_path: Path, reference: Summary) -> None:
    with pytest.raises(ComparisonError, match="'series'"):
        largest_error(reference, written(tmp_path / "a.nc", reference, leave_out="series"))
