"""What others have or do at the place of a copy, in the same moment or between its calls, is never lost."""

from __future__ import annotations

from typing import Any

import icechunk
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from copies import FORMATS, MADE, Store, quiet
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, compared, ingest, repositories, staged, virtual_store
from appliance.data.ingesting import abandon

pytestmark = pytest.mark.filterwarnings("ignore")


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def begun(monkeypatch: pytest.MonkeyPatch, target: str = MADE, **options: Any) -> None:
    """A copy that ended before it was compared."""
    with monkeypatch.context() as patch:
        patch.setattr(compared.Check, "file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest("s3://alice/one.nc", target, tell=quiet, **options)


@FORMATS
def test_what_is_removed_is_not_what_a_name_would_stand_for_as_a_pattern(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store("one.nc", year(1), **PACKED)
    ingest("s3://alice/one.nc", "s3://alice/run1", format=kind, tell=quiet)
    before = endpoint.objects()
    begun(monkeypatch, "s3://alice/run[1]", format=kind)
    abandon("s3://alice/run[1]")
    assert endpoint.objects() == before


def committed(text: str) -> None:
    """What somebody else makes of the branch ``main``."""
    session = repositories.opened(MADE).writable_session("main")
    zarr.open_group(session.store, mode="a").attrs["from"] = text
    session.commit("another's")


def test_what_others_commit_between_two_calls_is_not_replaced(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store("old.nc", year(2), **PACKED)
    store("one.nc", year(1), **PACKED)
    ingest("s3://alice/old.nc", MADE, format="icechunk", tell=quiet)
    begun(monkeypatch, format="icechunk", replace=True)
    committed("another")
    with pytest.raises(DataError, match=r"s3://alice/made: its branch main was changed by another process meanwhile"):
        ingest("s3://alice/one.nc", MADE, format="icechunk", replace=True, tell=quiet)
    assert xr.open_zarr(virtual_store(MADE)).attrs == {"from": "another"}


@pytest.mark.parametrize("when", ["compared", "abandoned"])
def test_what_others_commit_to_a_new_repository_is_not_removed_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    store("one.nc", year(1), **PACKED)
    if when == "abandoned":
        begun(monkeypatch, format="icechunk")
        committed("another")
        abandon(MADE)
    else:
        monkeypatch.setattr(compared.Check, "file", lambda *_: committed("another"))
        with pytest.raises(DataError, match="was changed by another process meanwhile"):
            ingest("s3://alice/one.nc", MADE, format="icechunk", tell=quiet)
    assert xr.open_zarr(virtual_store(MADE)).attrs == {"from": "another"}
    assert repositories.opened(MADE).list_branches() == {"main"}


def test_a_repository_that_was_there_is_not_removed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on its branch ``main`` yet, and much may be on another."""
    store("one.nc", year(1), **PACKED)
    there = icechunk.Repository.create(repositories.storage(MADE))
    begun(monkeypatch, format="icechunk")
    abandon(MADE)
    assert there.list_branches() == {"main"}


@pytest.mark.parametrize("is_moved", [False, True])
def test_an_answer_that_is_lost_at_the_last_step_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    store("one.nc", year(1), **PACKED)
    right = icechunk.Repository.reset_branch

    def lost(*arguments: Any, **options: Any) -> None:
        if is_moved:
            right(*arguments, **options)
        raise icechunk.IcechunkError("S3 did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(icechunk.Repository, "reset_branch", lost)
        if is_moved:
            ingest("s3://alice/one.nc", MADE, format="icechunk", tell=quiet)
        else:
            with pytest.raises(OSError, match="did not answer"):
                ingest("s3://alice/one.nc", MADE, format="icechunk", tell=quiet)
    if not is_moved:
        said: list[str] = []
        ingest("s3://alice/one.nc", MADE, format="icechunk", tell=said.append)
        assert said[0] == f"{MADE}: goes on with what was begun"
    assert "t" in xr.open_zarr(virtual_store(MADE))
    assert repositories.opened(MADE).list_branches() == {"main"}


def test_a_copy_that_is_removed_by_another_process_meanwhile_is_not_published(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks are gone, and a sample need not notice."""
    store("one.nc", year(1), **PACKED)
    monkeypatch.setattr(compared.Check, "file", lambda *_: abandon(MADE))
    with pytest.raises(DataError, match=r"s3://alice/made: another process removed this copy"):
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert endpoint.objects() == ["alice/one.nc"]


def test_a_copy_that_ends_badly_leaves_what_another_process_began_in_its_place(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)
    others: list[str] = []

    def replaced(*_: Any) -> None:
        abandon(MADE)
        begun(monkeypatch)
        others.extend(endpoint.objects())
        raise DataError("a difference")

    monkeypatch.setattr(compared.Check, "file", replaced)
    with pytest.raises(DataError, match="a difference"):
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert endpoint.objects() == others


def test_one_that_is_published_while_it_is_removed_is_whole_or_not_there(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed in the moment before the dataset is there, when the last look at the journal is over."""
    store("one.nc", year(1), **PACKED)
    right = staged.ZarrTarget._put

    def late(target: staged.ZarrTarget, url: str, *arguments: Any) -> bool:
        if url == f"{MADE}/zarr.json":
            abandon(MADE)
        return right(target, url, *arguments)

    monkeypatch.setattr(staged.ZarrTarget, "_put", late)
    with pytest.raises(DataError, match=r"s3://alice/made: another process removed this copy"):
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert not [name for name in endpoint.objects() if name.endswith("made/zarr.json")]


def test_a_removal_that_was_interrupted_is_ended_by_the_next(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)
    begun(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(staged, "delete", interrupted)
        with pytest.raises(KeyboardInterrupt):
            abandon(MADE)
    with pytest.raises(DataError, match=r"s3://alice/made: is being removed; .* appliance data abandon"):
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    abandon(MADE)
    assert endpoint.objects() == ["alice/one.nc"]


def test_a_repository_that_was_given_up_before_its_first_commit_can_be_removed(store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    there = icechunk.Repository.create(repositories.storage(MADE))
    there.create_branch("unchecked", there.lookup_branch("main"))
    with pytest.raises(DataError, match=r"was given up half-way: .* appliance data abandon"):
        ingest("s3://alice/one.nc", MADE, format="icechunk", tell=quiet)
    abandon(MADE)
    ingest("s3://alice/one.nc", MADE, format="icechunk", tell=quiet)
    assert "t" in xr.open_zarr(virtual_store(MADE))


def test_what_was_wrong_is_told_though_its_traces_cannot_be_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)

    def different(*_: Any) -> None:
        raise DataError("a difference")

    def refused(*_: Any) -> None:
        raise OSError("S3 does not answer")

    monkeypatch.setattr(compared.Check, "file", different)
    monkeypatch.setattr(staged, "delete", refused)
    with pytest.raises(DataError, match="a difference") as raised:
        ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert "S3 does not answer" in raised.value.__notes__[0]
    assert f"appliance data abandon {MADE}" in raised.value.__notes__[0]


def test_the_command_says_how_to_go_on_when_it_is_interrupted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared.Check, "file", interrupted)
    run = CliRunner().invoke(main, ["data", "ingest", store("one.nc", year(1), **PACKED), MADE])
    assert run.exit_code == 1
    assert "Ask for the same again to go on" in run.output
