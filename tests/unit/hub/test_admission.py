"""Who is no researcher of today's is not let in, whoever has said who they are."""

from __future__ import annotations

import datetime
import grp
import os
import pwd
from pathlib import Path

import pytest

from appliance.hub.admission import has_expired, is_admitted

TODAY = (datetime.datetime.now(datetime.UTC).date() - datetime.date(1970, 1, 1)).days
GROUP = 3000


@pytest.fixture
def expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the day on which everybody's account ends, as `getent` tells it."""
    day = tmp_path / "day"
    getent = tmp_path / "getent"
    getent.write_text(f'#!/bin/sh\necho "$2:*:20000:0:99999:7::$(cat {day}):"\n')
    getent.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return day


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A researcher's groups, which a test may change."""
    groups = [2001, GROUP]
    account = pwd.struct_passwd(("alice", "x", 2001, 2001, "", "/home/alice", "/bin/sh"))
    monkeypatch.setattr("appliance.hub.admission.researcher_account", lambda *_: account)
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", GROUP, [])))
    monkeypatch.setattr(os, "getgrouplist", lambda *_: groups)
    return groups


@pytest.mark.parametrize(
    ("day", "ended"), [("", False), ("1", True), (TODAY - 1, True), (TODAY, True), (TODAY + 2, False)]
)
def test_an_account_ends_on_its_day(expires: Path, day: object, ended: bool) -> None:
    expires.write_text(str(day))
    assert has_expired("alice") is ended


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(("day", "admitted"), [("", True), ("1", False)])
def test_a_locked_researcher_is_not_admitted(expires: Path, day: str, admitted: bool) -> None:
    """Role `accounts` locks by the first day that there is."""
    expires.write_text(day)
    assert is_admitted("alice", "researchers", 2000, 59999) is admitted


def test_who_is_not_of_the_group_is_not_admitted(expires: Path, alice: list[int]) -> None:
    expires.write_text("")
    alice.remove(GROUP)
    assert not is_admitted("alice", "researchers", 2000, 59999)


def test_an_account_that_is_no_researchers_is_not_admitted() -> None:
    assert not is_admitted("root", "researchers", 2000, 59999)
