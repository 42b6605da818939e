"""Commits to Icechunk whose answer is lost on the way: made once, and never taken for somebody else's."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import icechunk.repository
import icechunk.xarray
import numpy as np
import programs
import pytest
import xarray as xr
import zarr
from s3_endpoint import S3Endpoint

from appliance.data import history, icechunk_writing, repository, virtual_store
from appliance.data.icechunk_commits import MARK, install

OPEN_GROUP = icechunk.xarray.ZarrStore.open_group  # as xarray has it
icechunk_writing.install(icechunk.xarray)
install(icechunk.repository)  # as the interpreter of an environment does

URL = "s3://alice/repo"
STRESS = Path(__file__).parents[2] / "rack/commit_stress.py"
OURS = icechunk.BasicConflictSolver(on_chunk_conflict=icechunk.VersionSelection.UseOurs)

Commit = Callable[..., str]


def in_a_loop(session: Any, *arguments: Any, **options: Any) -> str:
    return str(asyncio.run(session.commit_async(*arguments, **options)))


COMMITS = pytest.mark.parametrize("commit", [icechunk.Session.commit, in_a_loop], ids=["commit", "commit_async"])


@pytest.fixture
def made(endpoint: S3Endpoint) -> Any:  # noqa: ARG001  # S3 is there
    there = repository(URL, create=True)
    with there.transaction("main", message="an array") as store:
        zarr.create_group(store).create_array("t", data=np.zeros(4), chunks=(1,))
    return there


def changed(there: Any, index: int, value: float) -> Any:
    session = there.writable_session("main")
    zarr.open_array(session.store, path="t", mode="r+")[index] = value
    return session


def messages() -> list[str]:
    return [each.message for each in history(URL)][:-2]


def test_icechunk_itself_still_takes_its_own_commit_for_anothers(endpoint: S3Endpoint, made: Any) -> None:
    """Where this fails, `appliance.data.icechunk_commits` has become needless."""
    plain = icechunk.Session.commit.__wrapped__
    session = changed(made, 0, 1)
    endpoint.unanswered = 1
    with pytest.raises(icechunk.ConflictError):
        plain(session, "alone")
    session = changed(made, 0, 2)
    endpoint.unanswered = 1
    plain(session, "twice", rebase_with=OURS)
    assert messages() == ["twice", "twice", "alone"]


@COMMITS
@pytest.mark.parametrize("solver", [None, OURS, icechunk.ConflictDetector()])
def test_a_commit_whose_answer_is_lost_is_made_once(
    endpoint: S3Endpoint, made: Any, commit: Commit, solver: Any
) -> None:
    session = changed(made, 0, 1)
    endpoint.unanswered = 1
    snapshot = commit(session, "once", {"by": "alice"}, rebase_with=solver)
    first = history(URL)[0]
    assert messages() == ["once"]
    assert (first.snapshot, first.metadata["by"]) == (snapshot, "alice")
    assert (session.read_only, session.snapshot_id) == (True, snapshot)
    assert zarr.open_array(session.store, path="t", mode="r")[0] == 1
    assert commit(changed(made, 1, 1), "the next") == history(URL)[0].snapshot


@COMMITS
def test_it_is_found_below_commits_of_others(endpoint: S3Endpoint, made: Any, commit: Commit) -> None:
    session, other = changed(made, 0, 1), changed(made, 0, 2)
    look = type(made).lookup_branch

    def meanwhile(self: Any, branch: str) -> Any:  # another one commits before the branch is looked at
        if zarr.open_array(other.store, path="t", mode="r")[0] == 2 and not other.read_only:
            other.rebase(OURS)
            other.commit("another's")
        return look(self, branch)

    endpoint.unanswered = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(made), "lookup_branch", meanwhile)
        snapshot = commit(session, "mine")
    assert messages() == ["another's", "mine"]
    assert history(URL)[1].snapshot == snapshot


@COMMITS
def test_whoever_loses_a_race_is_told_or_rebased(made: Any, commit: Commit) -> None:
    alone, rebased, same = changed(made, 0, 1), changed(made, 2, 1), changed(made, 1, 5)
    changed(made, 1, 1).commit("first")
    with pytest.raises(icechunk.ConflictError):
        commit(alone, "alone")
    with pytest.raises(icechunk.ConflictError):
        commit(same, "no try", rebase_with=OURS, rebase_tries=0)
    with pytest.raises(icechunk.RebaseFailedError):
        commit(same, "same chunk", rebase_with=icechunk.ConflictDetector())
    commit(rebased, "rebased", rebase_with=icechunk.ConflictDetector())
    assert messages() == ["rebased", "first"]


@COMMITS
def test_what_ceph_says_of_two_at_the_same_moment_is_asked_again(
    endpoint: S3Endpoint, made: Any, commit: Commit
) -> None:
    session = changed(made, 0, 1)
    endpoint.racing = 1
    commit(session, "once")
    assert endpoint.racing == 0
    assert messages() == ["once"]


def test_where_nothing_is_known_the_error_says_so(
    endpoint: S3Endpoint, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoAnswerError(icechunk.IcechunkError):
        pass

    def silent(*_: object) -> None:
        raise NoAnswerError("dispatch failure")

    session = changed(made, 0, 1)
    endpoint.full = True
    with pytest.raises(icechunk.IcechunkError) as refused:
        session.commit("refused")
    assert "not on the branch main. A request that is still on its way" in refused.value.__notes__[0]
    monkeypatch.setattr(type(made), "lookup_branch", silent)
    with pytest.raises(icechunk.IcechunkError) as unknown:
        session.commit("not known")
    (said,) = unknown.value.__notes__
    assert said.startswith("Whether the commit was made is not known")
    assert f"{MARK} " in said
    monkeypatch.undo()
    endpoint.full = False
    assert messages() == []
    session.commit("at last")
    assert messages() == ["at last"]


@pytest.mark.usefixtures("endpoint")
def test_xarray_writes_a_repository_in_pieces_and_appends() -> None:
    there = repository(URL, create=True)
    days = xr.Dataset({"t": (("day", "x"), np.arange(12.0).reshape(4, 3))}).chunk(day=2)
    for message, options in (("first", {}), ("more", {"append_dim": "day"})):
        session = there.writable_session("main")
        icechunk.xarray.to_icechunk(days, session, **options)
        session.commit(message)
    opened = xr.open_zarr(virtual_store(URL), consolidated=False)
    np.testing.assert_array_equal(opened.t, np.concatenate([days.t, days.t]))


def test_icechunk_still_gives_xarray_what_it_has_no_more() -> None:
    """Where this fails, `appliance.data.icechunk_writing` has become needless."""
    for name in ("synchronizer", "zarr_version"):
        assert f'"{name}": None' in inspect.getsource(icechunk.xarray)
        assert name not in inspect.signature(OPEN_GROUP).parameters


def test_writers_whose_connections_are_cut_lose_no_commit_and_make_none_twice(endpoint: S3Endpoint) -> None:
    """The rack's own program (`tests/rack/test_versions.py`), small."""
    made = json.loads(programs.run(STRESS, URL, "--commits", "12", "--writers", "2", "--cut", "0.02"))
    assert made["right"], made
    assert (made["acknowledged"], made["in_history"], made["linear"]) == (12, 12, True)
    assert made["cut"] > 0
    assert endpoint.objects() == []


def test_the_stress_judges_what_is_wrong(made: Any) -> None:
    """Of a ledger that says more than the history, and of a history that has a commit twice."""
    spec = importlib.util.spec_from_file_location("commit_stress", STRESS)
    assert spec
    assert spec.loader
    stress = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stress)
    with made.transaction("main", message="the stress's own array") as store:
        zarr.create_group(store, overwrite=True).create_array(
            "values", shape=(1, 3, stress.LENGTH), chunks=(1, 1, stress.LENGTH), dtype="i8", fill_value=-1
        )
    snapshots = []
    for number in (0, 1, 1):
        session = made.writable_session("main")
        zarr.open_array(session.store, path="values", mode="r+")[0, number] = stress.values_of(0, number)
        snapshots.append(session.commit("a commit", {"writer": 0, "number": number}))
    ledger = {"snapshots": [*snapshots[:2], "ABSENT"]}
    judged = stress.judged(URL, [ledger], 3)
    assert (judged["acknowledged"], judged["lost"], judged["twice"], judged["wrong_values"]) == (3, 1, 1, 1)
    assert not stress.is_right(judged)
