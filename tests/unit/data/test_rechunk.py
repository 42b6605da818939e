"""A dataset in other chunks is the same dataset, and what it takes is known before."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint
from zarr.storage import FsspecStore

from appliance.cli import main
from appliance.data import (
    DataError,
    codec_choice,
    compared,
    copy_check,
    copy_job,
    ingest,
    rechunk,
    virtual_store,
    virtualize,
)

pytestmark = pytest.mark.filterwarnings("ignore")
Store = Callable[..., str]
OLD, NEW = "s3://alice/old", "s3://alice/new"


def quiet(_text: str) -> None:
    """What is said is of no interest here."""


def packed() -> xr.Dataset:
    """A field with packed numbers, texts, truth values, numbers of half precision and times."""
    dataset = year(1).assign(
        name=("x", ["a", "bé", "", "d", "e", "f", "g", "h"]),
        land=(("y", "x"), np.eye(6, 8, dtype=bool)),
        half=(("time", "x"), np.arange(96, dtype="f2").reshape(12, 8)),
        scalar=7,
    )
    dataset.t.encoding = {"dtype": "i4", "scale_factor": 0.001, "_FillValue": -1, "chunks": (1, 6, 8)}
    return dataset


@pytest.mark.parametrize("kind", ["zarr 2", "zarr 3", "shards", "home", "icechunk", "kerchunk"])
def test_each_kind_of_dataset_is_copied(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(copy_check, "SMALL_BYTES", 0)
    dataset, source = packed(), OLD
    match kind:
        case "zarr 2" | "zarr 3":
            dataset.to_zarr(OLD, zarr_format=int(kind[-1]))
        case "shards":
            dataset.t.encoding |= {"chunks": (1, 6, 8), "shards": (4, 6, 8)}
            dataset.to_zarr(OLD, zarr_format=3)
        case "home":
            source = str(tmp_path / "old.zarr")
            dataset.to_zarr(source, zarr_format=3)
        case "icechunk":
            store("one.nc", year(1), **PACKED)
            ingest("s3://alice/one.nc", OLD, format="icechunk", tell=quiet)
        case "kerchunk":
            store("one.nc", year(1), **PACKED)
            source = virtualize("s3://alice/one.nc", OLD)
    told: list[str] = []
    rechunk(source, NEW, chunks={"time": 5, "x": 3}, block_bytes=1, check="all", tell=told.append)
    made = xr.open_zarr(NEW)
    truth = xr.open_zarr(virtual_store(source) if kind in ("icechunk", "kerchunk") else source)
    xr.testing.assert_identical(made.load(), truth.load())
    assert made.t.encoding["chunks"] == (5, 6, 3)
    assert made.t.encoding["dtype"] == truth.t.encoding["dtype"]
    assert made.t.encoding["_FillValue"] == truth.t.encoding["_FillValue"]


def test_what_it_takes_is_told_before_and_nothing_is_written(endpoint: S3Endpoint) -> None:
    values = np.random.default_rng(1).normal(280, 5, (365, 40, 50)).astype("f4")
    xr.Dataset({"t": (("time", "y", "x"), values)}).to_zarr(OLD, encoding={"t": {"chunks": (1, 40, 50)}})
    before = endpoint.objects()
    arguments = ["data", "rechunk", OLD, NEW, "--for", "series", "--chunks", "x=1,y=1", "--block", "1", "--forecast"]
    run = CliRunner().invoke(main, [*arguments, "--compression", "none"])
    assert run.exit_code == 0, run.output
    assert "t: chunks of time 365 x y 1 x x 1: 2,000 objects" in run.output
    # A block of 400 places of 2,000 is half a MiB, a doubled one too much; and each reads all of the old chunks.
    assert "2.8 MiB of values in 5 blocks; each value is read 5 times; up to 2 MiB of memory" in run.output
    assert "about 2.8 MiB in up to 2,000 objects will be written" in run.output
    assert endpoint.objects() == before


@pytest.mark.usefixtures("endpoint")
def test_a_detour_is_told_where_it_saves_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.data.chunk_advice.WANTED_BYTES", 16_000)
    xr.Dataset({"t": (("time", "y", "x"), np.zeros((400, 40, 50), "f4"))}).to_zarr(
        OLD, encoding={"t": {"chunks": (1, 40, 50)}}
    )
    told: list[str] = []
    rechunk(OLD, NEW, access="series", block_bytes=64_000, forecast=True, tell=told.append)
    assert any("by way of another dataset, made with --for both" in text for text in told)
    told.clear()
    rechunk(OLD, NEW, access="map", block_bytes=64_000, forecast=True, tell=told.append)
    assert not any("by way of another" in text for text in told)


@pytest.mark.usefixtures("endpoint")
def test_compression_is_tried_on_enough_values_though_old_chunks_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_job, "SAMPLE_BYTES", 1000)
    tried: list[int] = []
    right = codec_choice.measured

    def measured(sample: np.ndarray, *ways: Any) -> Any:
        tried.append(sample.nbytes)
        return right(sample, *ways)

    monkeypatch.setattr(codec_choice, "measured", measured)
    for chunks in ((400, 40), (1, 40), (400, 1)):
        xr.Dataset({"t": (("time", "x"), np.ones((400, 40)))}).to_zarr(
            OLD, mode="w", encoding={"t": {"chunks": chunks}}
        )
        rechunk(OLD, NEW, block_bytes=20_000, forecast=True, tell=quiet)
    assert len(tried) == 3
    assert all(500 <= nbytes <= 1000 for nbytes in tried)


def test_a_dataset_that_changes_meanwhile_is_refused(endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only a chunk is another, in the middle of the array."""
    xr.Dataset({"t": (("time", "x"), np.arange(1000.0).reshape(100, 10))}).to_zarr(
        OLD, encoding={"t": {"chunks": (10, 10)}}
    )
    right = compared.Check.file

    def changed(*arguments: Any) -> None:
        right(*arguments)
        zarr.open_array(f"{OLD}/t", mode="r+")[50:60] = 7

    monkeypatch.setattr(compared.Check, "file", changed)
    before = endpoint.objects()
    with pytest.raises(DataError, match=r"s3://alice/old: was changed while it was read"):
        rechunk(OLD, NEW, tell=quiet)
    assert endpoint.objects() == before


def test_what_cannot_be_rechunked_is_told(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    with pytest.raises(DataError, match=r"s3://alice/one.nc: is no dataset in Zarr.*: ingest files"):
        rechunk("s3://alice/one.nc", NEW, tell=quiet)
    year(1).to_zarr(OLD)
    for target in (f"{OLD}/", f"{OLD}/t/c/new"):
        with pytest.raises(DataError, match=r"s3://alice/old: a dataset is not copied into its own place"):
            rechunk(OLD, target, tell=quiet)
    (endpoint.folder / "alice/old/t/zarr.json").write_text("{")
    with pytest.raises(DataError, match=r"s3://alice/old: (Zarr cannot open it|xarray cannot)"):
        rechunk(OLD, NEW, tell=quiet)
    assert not [name for name in endpoint.objects() if "new" in name]


def test_a_damaged_chunk_of_the_old_dataset_is_told(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    ingest("s3://alice/one.nc", OLD, tell=quiet)
    content = bytearray(fsspec.filesystem("s3").cat_file(f"{OLD}/t/c/0/0/0"))
    content[-1] ^= 1
    fsspec.filesystem("s3").pipe_file(f"{OLD}/t/c/0/0/0", bytes(content))
    with pytest.raises(DataError, match=r"s3://alice/old: variable 't': xarray cannot read it.*checksum"):
        rechunk(OLD, NEW, tell=quiet)
    assert not [name for name in endpoint.objects() if "new" in name]


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("place", ["old", "new"])
def test_where_s3_does_not_answer_what_was_copied_stays(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """While the old dataset is read, or the new one to be compared with it."""
    xr.Dataset({"t": (("time", "x"), np.arange(1000.0).reshape(100, 10))}).to_zarr(
        OLD, encoding={"t": {"chunks": (10, 10)}}
    )
    right = FsspecStore.get
    failed: list[str] = []

    async def get(store: Any, key: str, *arguments: Any, **options: Any) -> Any:
        if store.path.endswith(place) and key == last:
            failed.append(key)
            raise OSError(errno.EIO, "S3 does not answer")
        return await right(store, key, *arguments, **options)

    wishes: dict[str, Any] = {"chunks": {"time": 50}, "block_bytes": 1, "check": "all"}
    last = "t/c/9/0" if place == "old" else "t/c/1/0"
    with monkeypatch.context() as patch:
        patch.setattr(FsspecStore, "get", get)
        with pytest.raises(OSError, match="S3 does not answer") as raised:
            rechunk(OLD, NEW, tell=quiet, **wishes)
    assert failed
    assert "Ask for the same again to go on" in raised.value.__notes__[0]
    told: list[str] = []
    rechunk(OLD, NEW, tell=told.append, **wishes)
    assert told[0] == f"{NEW}: goes on with what was begun"
    xr.testing.assert_identical(xr.open_zarr(NEW).load(), xr.open_zarr(OLD).load())
