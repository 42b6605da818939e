"""Files are put in place all or none, with the modes that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import place_files

Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def place(answer: Answer, tmp_path: Path) -> Answer:
    """Runs the module; its files belong to whoever runs the tests."""
    me = {"owner": tmp_path.owner(), "group": tmp_path.group()}
    return lambda *files, **mode: answer(place_files, files=[{**me, **file} for file in files], **mode)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_files_get_their_texts_modes_and_directories(place: Answer, tmp_path: Path) -> None:
    public, secret = tmp_path / "a/public", tmp_path / "a/b/secret"
    files = (
        {"path": str(secret), "content": "2", "mode": "0400", "directory_mode": "0700"},
        {"path": str(public), "content": "1"},
    )
    assert place(*files)["written"] == [str(secret), str(public)]
    assert (public.read_text(), mode(public), mode(public.parent)) == ("1", 0o644, 0o755)
    assert (secret.read_text(), mode(secret), mode(secret.parent)) == ("2", 0o400, 0o700)
    assert place(*files)["changed"] is False


def test_a_mode_that_was_changed_is_put_right(place: Answer, tmp_path: Path) -> None:
    file = tmp_path / "file"
    place({"path": str(file), "content": "1"})
    file.chmod(0o666)
    assert place({"path": str(file), "content": "1"})["written"] == [str(file)]
    assert mode(file) == 0o644


def test_a_check_tells_the_difference_and_writes_nothing(place: Answer, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "a/new"
    old.write_text("before")
    said = place({"path": str(old), "content": "after"}, {"path": str(new), "content": "after"}, check=True)
    assert said["changed"] is True
    assert [(part["before"], part["after"]) for part in said["diff"]] == [("before", "after"), ("", "after")]
    assert old.read_text() == "before"
    assert not new.parent.exists()


def test_a_file_that_its_program_refuses_leaves_all_files_as_they_were(place: Answer, tmp_path: Path) -> None:
    good, bad = tmp_path / "new/good", tmp_path / "bad"
    bad.write_text("old")
    files = (
        {"path": str(good), "content": "1", "validate": "grep 1 %s"},
        {"path": str(bad), "content": "2", "validate": "grep 'a word' %s"},
    )
    said = place(*files)
    assert said["failed"] is True
    assert said["msg"].startswith(f"{bad}: `grep 'a word' %s` refuses it")
    assert bad.read_text() == "old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["bad"]
    assert place(*files[:1])["written"] == [str(good)]


def test_an_owner_that_the_machine_does_not_have_is_named(place: Answer, tmp_path: Path) -> None:
    said = place({"path": str(tmp_path / "file"), "content": "", "owner": "no-such-account"})
    assert said["failed"] is True
    assert "no-such-account" in said["msg"]
