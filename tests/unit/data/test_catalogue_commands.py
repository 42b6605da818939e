"""The commands of the catalogue."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import plain_xarray  # noqa: F401  # as the interpreter of an environment does
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import catalogue, virtualize
from appliance.data.cataloguing import kept

URL = "s3://alice/all.json"


@pytest.fixture
def file(store: Callable[..., str]) -> str:
    times = np.datetime64("2000-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    dataset = xr.Dataset({"a": (("t", "x"), np.ones((3, 10)))}, coords={"t": times}, attrs={"title": "Of ones"})
    return store("one.nc", dataset)


def said(*words: str) -> Result:
    return CliRunner().invoke(main, ["data", *words])


def test_a_dataset_that_is_made_is_found_published_and_withdrawn(endpoint: S3Endpoint, file: str) -> None:
    endpoint.guarded = True
    assert said("virtualize", file, URL).exit_code == 0
    assert URL in said("find", "ones", "--time", "2000", "2000").output
    assert said("find", "nothing").output.splitlines() == ["0 datasets: title | address | variables | time | published"]
    assert said("record", URL, "--title", "My ones", "--keyword", "ones").output.strip().endswith("as 'My ones'")
    done = said("publish", URL, "--licence", "CC0-1.0", "--citation", "Alice, 2026")
    assert f"`appliance data withdraw {URL}` ends that" in done.output, done.output
    assert f"with it: {file}" in done.output
    assert [(one.title, one.published) for one in catalogue()] == [("My ones", True)]
    assert said("forget", URL).exit_code == 1
    assert said("withdraw", URL).exit_code == 0
    assert said("forget", URL).exit_code == 0
    assert len(catalogue()) == 0


def test_what_went_wrong_is_said(endpoint: S3Endpoint) -> None:
    done = said("publish", "s3://alice/none.zarr", "--licence", "CC0-1.0", "--citation", "x")
    assert (done.exit_code, "Error: s3://alice/none.zarr: is not in the catalogue" in done.output) == (1, True)
    assert endpoint.objects() == []


def test_a_catalogue_that_refuses_takes_nothing_from_the_dataset(
    endpoint: S3Endpoint, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("S3 refuses")

    monkeypatch.setattr(kept, "change", refuse)
    told: list[str] = []
    assert virtualize(file, URL, tell=told.append) == URL
    assert f"it is not in the catalogue yet: S3 refuses; way out: `appliance data record {URL} --kind kerchunk`" in told
    assert "alice/all.json" in endpoint.objects()
