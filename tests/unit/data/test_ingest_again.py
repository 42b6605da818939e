"""Copies that are made again: after an interrupt they go on, and in the place of another only where that is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from copies import FORMATS, MADE, Store, large, opened, quiet
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, compared, copy_job, copying, ingest, repositories, staged

pytestmark = pytest.mark.filterwarnings("ignore")


@FORMATS
@pytest.mark.parametrize("where", ["copy", "compare"])
def test_an_interrupted_copy_goes_on(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, where: str
) -> None:
    large(monkeypatch)
    monkeypatch.setattr(copy_job, "BATCH", 2)
    store("one.nc", year(1), **PACKED)
    options: dict[str, Any] = {"chunks": {"time": 1}, "format": kind, "block_bytes": 1, "tell": quiet}

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if where == "copy":
            patch.setattr(copying, "read", _after(7, copying.read, interrupted))
        else:
            patch.setattr(compared.Check, "file", interrupted)
        with pytest.raises(KeyboardInterrupt) as raised:
            ingest("s3://alice/one.nc", MADE, **options)
    assert "Ask for the same again to go on" in raised.value.__notes__[0]
    with pytest.raises((FileNotFoundError, DataError)):
        opened(kind)
    read: list[Any] = []
    monkeypatch.setattr(copying, "read", _counted(copying.read, read))
    ingest("s3://alice/one.nc", MADE, **options)
    assert len(read) == 0 if where == "compare" else 2 <= len(read) <= 8
    with xr.open_dataset(endpoint.folder / "alice/one.nc", engine="netcdf4") as truth:
        xr.testing.assert_identical(opened(kind).load(), truth.load())
    assert [name for name in endpoint.objects() if "ingest" in name] == []


def _after(count: int, right: Callable[..., Any], wrong: Callable[..., Any]) -> Callable[..., Any]:
    """``right`` for some calls, and ``wrong`` from then on."""
    calls: list[int] = []

    def called(*arguments: Any) -> Any:
        calls.append(1)
        return right(*arguments) if len(calls) <= count else wrong(*arguments)

    return called


def _counted(right: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        calls.append(arguments)
        return right(*arguments)

    return called


@FORMATS
def test_another_copy_does_not_go_on_with_what_was_begun_and_it_can_be_removed(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store("one.nc", year(1), **PACKED)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compared.Check, "file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest("s3://alice/one.nc", MADE, format=kind, tell=quiet)
    begun = endpoint.objects()
    with pytest.raises(DataError, match=r"another ingest was begun .*access was 'both', and is 'map'.* abandon s3:"):
        ingest("s3://alice/one.nc", MADE, format=kind, access="map", tell=quiet)
    store("one.nc", year(2), **PACKED)
    with pytest.raises(DataError, match=r"another ingest was begun .*\(s3://alice/one.nc changed since\)"):
        ingest("s3://alice/one.nc", MADE, format=kind, tell=quiet)
    assert endpoint.objects() == begun
    run = CliRunner().invoke(main, ["data", "abandon", MADE])
    assert run.exit_code == 0, run.output
    assert endpoint.objects() == ["alice/one.nc"]
    run = CliRunner().invoke(main, ["data", "abandon", MADE])
    assert run.exit_code == 1
    assert "there is nothing unfinished" in run.output


def test_a_dataset_is_replaced_by_icechunk_in_one_step(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("1.nc", year(1), **PACKED)
    store("2.nc", year(2, days=5), **PACKED)
    ingest("s3://alice/1.nc", MADE, format="icechunk", tell=quiet)
    with pytest.raises(DataError, match=r"an Icechunk repository already: .*--replace"):
        ingest("s3://alice/2.nc", MADE, format="icechunk", tell=quiet)
    right = compared.Check.file
    old: list[xr.Dataset] = []

    def look(*arguments: Any) -> None:
        old.append(opened("icechunk"))
        right(*arguments)

    monkeypatch.setattr(compared.Check, "file", look)
    ingest("s3://alice/2.nc", MADE, format="icechunk", replace=True, tell=quiet)
    for name, made in (("1.nc", old[0]), ("2.nc", opened("icechunk"))):
        with xr.open_dataset(endpoint.folder / "alice" / name, engine="netcdf4") as truth:
            xr.testing.assert_identical(made.load(), truth.load())


def test_what_another_committed_meanwhile_is_not_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store("1.nc", year(1), **PACKED)
    store("2.nc", year(2), **PACKED)
    ingest("s3://alice/1.nc", MADE, format="icechunk", tell=quiet)
    right = compared.Check.file

    def commit(*arguments: Any) -> None:
        session = repositories.opened(MADE).writable_session("main")
        zarr.open_group(session.store, mode="a").attrs["from"] = "another"
        session.commit("another's")
        right(*arguments)

    monkeypatch.setattr(compared.Check, "file", commit)
    with pytest.raises(DataError, match=r"s3://alice/made: its branch main was changed by another process meanwhile"):
        ingest("s3://alice/2.nc", MADE, format="icechunk", replace=True, tell=quiet)
    assert opened("icechunk").attrs == {"from": "another"}
    assert repositories.opened(MADE).list_branches() == {"main"}


def test_a_zarr_dataset_is_not_replaced(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    ingest("s3://alice/one.nc", MADE, tell=quiet)
    before = endpoint.objects()
    with pytest.raises(DataError, match=r"s3://alice/made: is there already.*--format icechunk"):
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    with pytest.raises(DataError, match=r"replaced in one step by Icechunk alone"):
        ingest("s3://alice/one.nc", MADE, replace=True, tell=quiet)
    with pytest.raises(DataError, match=r"s3://alice: names a bucket only|names a bucket only"):
        ingest("s3://alice/one.nc", "s3://alice", tell=quiet)
    assert endpoint.objects() == before


def test_of_two_that_make_the_same_one_is_told_and_the_others_stays(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)
    right = staged.ZarrTarget.publish
    others: list[str] = []

    def late(target: Any) -> None:
        zarr.create_group(MADE, zarr_format=3)
        others.extend(name for name in endpoint.objects() if "/c/" in name)
        right(target)

    monkeypatch.setattr(staged.ZarrTarget, "publish", late)
    with pytest.raises(DataError, match=r"s3://alice/made/zarr.json: was made by another process meanwhile"):
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert set(others) <= set(endpoint.objects())
    assert not [name for name in endpoint.objects() if "ingest" in name]


def test_one_that_ended_right_after_it_was_published_leaves_no_journal(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(staged.ZarrTarget, "_finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert "alice/.ingest-made.json" in endpoint.objects()
    with pytest.raises(DataError, match="is there already"):
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert "alice/.ingest-made.json" not in endpoint.objects()
    assert "t" in opened("zarr")
