"""Versions of Icechunk repositories: two writers, branches, tags, history, and removing what none of them reaches."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, branch, collect, collecting, history, repository, tag, virtual_store
from appliance.data.stores import UNCHECKED
from appliance.data.versions import remove

URL = "s3://alice/repo"
NONE = timedelta(0)
DAYS = 86_400  # s


def write(there: Any, values: float, message: str, branch: str = "main") -> str:
    session = there.writable_session(branch)
    zarr.open_array(session.store, path="t", mode="r+")[:] = np.random.default_rng(int(values)).normal(size=(2, 300))
    return str(session.commit(message))


def values(there: Any, **at: str) -> Any:
    return zarr.open_array(there.readonly_session(**at).store, path="t", mode="r")[:]


@pytest.fixture
def made(endpoint: S3Endpoint) -> Any:  # noqa: ARG001  # S3 is there
    """Five commits on ``main``; the tag ``v1`` at the second, the branch ``aside`` with one more from the third on."""
    there = repository(URL, create=True)
    with there.transaction("main", message="an array") as store:
        zarr.create_group(store).create_array("t", shape=(2, 300), chunks=(1, 300), dtype="f8")
    for number in range(1, 5):
        write(there, number, f"number {number}")
        if number == 1:
            tag(URL, "v1")
        if number == 2:
            branch(URL, "aside")
    write(there, 9, "aside", "aside")
    return there


def said(*words: str) -> Result:
    return CliRunner().invoke(main, ["data", "versions", *words])


@pytest.mark.usefixtures("endpoint")
def test_plain_icechunk_finds_the_facility_and_its_repository_is_ours() -> None:
    plain = icechunk.Repository.create(icechunk.s3_storage(bucket="alice", prefix="plain"))
    with plain.transaction("main", message="by plain Icechunk") as store:
        zarr.create_group(store).create_array("t", data=np.arange(3.0))
    ours = repository("s3://alice/plain")
    assert values(ours, branch="main").tolist() == [0, 1, 2]
    with ours.transaction("main", message="by ours") as store:
        zarr.open_array(store, path="t")[0] = 5
    assert [each.message for each in history("s3://alice/plain", last=2)] == ["by ours", "by plain Icechunk"]
    assert values(plain, branch="main")[0] == 5


def test_a_repository_is_made_where_there_is_none_and_nowhere_else(endpoint: S3Endpoint) -> None:
    with pytest.raises(DataError, match="there is no Icechunk repository"):
        repository(URL)
    repository(URL, create=True)
    before = endpoint.objects()
    repository(URL, create=True)
    assert endpoint.objects() == before
    (endpoint.folder / "alice/files").mkdir()
    (endpoint.folder / "alice/files/a.nc").write_bytes(b"a")
    with pytest.raises(DataError, match="other objects below it"):
        repository("s3://alice/files", create=True)
    assert endpoint.objects() == sorted([*before, "alice/files/a.nc"])


@pytest.mark.usefixtures("made")
def test_of_writers_at_once_exactly_one_wins_and_the_others_are_told() -> None:
    writers = 4
    start = threading.Barrier(writers)
    told: list[str] = []

    def one(number: int) -> None:
        session = repository(URL).writable_session("main")
        zarr.open_array(session.store, path="t", mode="r+")[:] = number
        start.wait()
        try:
            told.append(session.commit(f"writer {number}"))
        except icechunk.ConflictError:
            told.append("")

    before = history(URL)
    threads = [threading.Thread(target=one, args=[number]) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = (each for each in told if each)
    assert len(told) == writers
    assert [each.snapshot for each in history(URL)] == [won, *(each.snapshot for each in before)]


@pytest.mark.usefixtures("made")
def test_history_names_branches_and_tags() -> None:
    on_main = history(URL)
    assert [each.message for each in on_main] == [
        *(f"number {number}" for number in (4, 3, 2, 1)),
        "an array",
        "Repository initialized",
    ]
    assert [(each.branches, each.tags) for each in on_main][:4] == [(("main",), ()), ((), ()), ((), ()), ((), ("v1",))]
    assert [each.message for each in history(URL, "aside", last=2)] == ["aside", "number 2"]
    assert history(URL, "v1")[0] == on_main[3]
    assert history(URL, on_main[2].snapshot) == on_main[2:]


def test_a_version_is_opened_with_placed_reads(made: Any) -> None:
    for at, right in (("v1", {"tag": "v1"}), ("aside", {"branch": "aside"}), ("main", {"branch": "main"})):
        opened = zarr.open_array(virtual_store(URL, at), path="t", mode="r")
        np.testing.assert_array_equal(opened[:], values(made, **right))
    second = history(URL)[2].snapshot
    assert virtual_store(URL, second).snapshot == second


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda: virtual_store(URL, "nothing"), "no branch, tag or snapshot 'nothing'"),
        (lambda: virtual_store("s3://alice/files.json", "v1"), "has no versions"),
        (lambda: history(URL, "nothing"), "no branch, tag or snapshot 'nothing'; branches: aside, main; tags: v1"),
        (lambda: tag(URL, "v1"), "there is a tag 'v1' already, at "),
        (lambda: branch(URL, "aside"), "there is a branch 'aside' already, at "),
        (lambda: tag(URL, "a/b"), "'a/b' cannot be a tag"),
        (lambda: remove(URL, "branch", "main"), "main is what is opened where none is named"),
        (lambda: remove(URL, "tag", "v2"), "there is no tag 'v2'; there are v1"),
        (lambda: collect(URL, timedelta(hours=23)), "--unused"),
        (lambda: collect(URL, timedelta(days=-1), unused=True), "--unused"),
        (lambda: collect("s3://alice/none"), "there is no Icechunk repository"),
    ],
)
@pytest.mark.usefixtures("made")
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    endpoint: S3Endpoint, ask: Callable[[], Any], match: str
) -> None:
    before = endpoint.objects()
    with pytest.raises(DataError, match=match):
        ask()
    assert endpoint.objects() == before


def test_a_name_that_is_there_as_asked_for_is_no_error(made: Any) -> None:
    """S3's answer may have been lost: Icechunk asks again, and is told that the name is taken."""
    for _ in range(2):
        assert tag(URL, "v2") == branch(URL, "new") == made.lookup_branch("main")


def contents(there: Any) -> dict[str, Any]:
    branches = {name: values(there, branch=name) for name in there.list_branches()}
    return branches | {f"tag {name}": values(there, tag=name) for name in there.list_tags()}


@pytest.mark.parametrize("expire", [False, True])
def test_what_would_go_is_told_to_the_byte_and_no_branch_or_tag_loses_a_value(
    endpoint: S3Endpoint, made: Any, expire: bool
) -> None:
    remove(URL, "branch", "aside")
    branch(URL, "kept", history(URL)[1].snapshot)
    before, size, objects = contents(made), stored(endpoint), endpoint.objects()
    told = collect(URL, NONE, expire=expire, unused=True)
    assert endpoint.objects() == objects
    assert not told.removed
    assert (told.branches, told.tags) == (("main", "kept"), ("v1",))
    done = collect(URL, NONE, expire=expire, unused=True, remove=True)
    assert done == told._replace(removed=True)
    # The metadata of a snapshot whose history is shortened is written anew, some bytes shorter or longer.
    assert size - stored(endpoint) == pytest.approx(told.bytes, abs=100 if expire else 0)
    assert (told.snapshots, told.shortened) == ((3, 2) if expire else (1, 0))
    assert told.bytes > 2 * 300 * 8 * (2 if expire else 1) * 0.8
    after = contents(repository(URL))
    assert before.keys() == after.keys()
    for name, there in before.items():
        np.testing.assert_array_equal(after[name], there)
    left = [each.message for each in history(URL)]
    assert left == (
        ["number 4", "Repository initialized"] if expire else [f"number {n}" for n in (4, 3, 2, 1)] + left[4:]
    )
    write(repository(URL), 11, "and it goes on")
    assert collect(URL, NONE, unused=True).bytes == 0


def stored(endpoint: S3Endpoint) -> int:
    return sum((endpoint.folder / name).stat().st_size for name in endpoint.objects())


def test_what_is_younger_stays_and_with_it_a_commit_that_is_being_written(endpoint: S3Endpoint, made: Any) -> None:
    remove(URL, "branch", "aside")
    lost = {name for name in endpoint.objects() if "/chunks/" in name}
    session = made.writable_session("main")
    zarr.open_array(session.store, path="t", mode="r+")[:] = np.random.default_rng(5).normal(size=(2, 300))
    assert collect(URL, timedelta(days=1), expire=True, remove=True).bytes == 0
    assert lost < set(endpoint.objects())
    for name in lost:  # as if they were written two days ago
        os.utime(endpoint.folder / name, times=(time.time() - 2 * DAYS,) * 2)
    assert collect(URL, timedelta(days=3)).bytes == 0
    done = collect(URL, timedelta(days=1), expire=True, remove=True)
    assert done.bytes > 2 * 300 * 8 * 0.8
    assert (done.snapshots, done.shortened) == (0, 0)
    session.commit("what was being written")
    assert values(repository(URL), branch="main")[0, 0] == np.random.default_rng(5).normal()


def test_a_copy_that_is_not_ended_is_left_alone(endpoint: S3Endpoint, made: Any) -> None:
    made.create_branch(UNCHECKED, made.lookup_branch("main"))
    before = endpoint.objects()
    with pytest.raises(DataError, match=f"appliance data abandon {URL}"):
        collect(URL, NONE, unused=True, expire=True, remove=True)
    assert endpoint.objects() == before


@pytest.mark.usefixtures("made")
def test_metadata_that_has_no_room_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 10

    monkeypatch.setattr(collecting.shutil, "disk_usage", lambda _: Full)
    with pytest.raises(DataError, match="set TMPDIR to a folder of your home"):
        collect(URL, expire=True)


def test_the_commands(made: Any) -> None:
    newest = made.lookup_branch("main")
    assert said("tag", URL, "paper").output == f"{URL}: the tag paper is at {newest}\n"
    assert said("branch", URL, "try", "--at", "v1").exit_code == 0
    listed = said("list", URL, "--last", "2").output.splitlines()
    assert [line.strip().split("  ")[-1] for line in listed] == [
        *("branch main", "number 4", "number 3", "older ones: --all"),
        *("branch aside", "aside", "number 2", "older ones: --all"),
        *("branch try", "number 1", "an array", "older ones: --all"),
    ]
    assert f"  {newest}  " in listed[1]
    assert "[tag paper]" in listed[1]
    assert said("branch", URL, "try", "--delete").exit_code == 0
    listed = said("list", URL, "--last", "2").output.splitlines()
    assert [listed[-2], listed[-1].rpartition("  ")[2]] == ["tag v1", "number 1"]
    whole = said("list", URL, "--all").output
    assert whole.count("number 2") == 1
    assert "and older: as on main" in whole
    assert said("tag", URL, "paper", "--delete").exit_code == 0
    assert "cannot be a tag" in said("tag", URL, "paper").output  # Icechunk gives a name once
    for words in (("list",), ("tag", "x"), ("collect",)):
        refused = said(words[0], "s3://bob/repo", *words[1:])
        assert (refused.exit_code, "S3 refuses: you have no right there" in refused.output) == (1, True), words


@pytest.mark.usefixtures("made")
def test_the_command_that_removes_says_first_what_would_go(endpoint: S3Endpoint) -> None:
    before = endpoint.objects()
    told = said("collect", URL, "--older-than", "0h", "--unused", "--expire").output
    assert f"{URL}: would remove 3 versions, " in told, told
    assert "histories would be shortened by 3 versions" in told
    assert "as before: main, aside, tag v1" in told
    assert "To remove them: --yes" in told
    assert endpoint.objects() == before
    done = said("collect", URL, "--older-than", "0h", "--unused", "--expire", "--yes").output
    assert done.splitlines()[0] == told.splitlines()[0].replace("would remove", "removed")
    assert "nothing older than 30d" in said("collect", URL).output
    refused = said("collect", URL, "--older-than", "2h")
    assert (refused.exit_code, "--unused" in refused.output) == (1, True)
    assert "write hours, days or weeks" in said("collect", URL, "--older-than", "soon").output
