"""Which accounts are researchers', whatever a caller names."""

from __future__ import annotations

import pwd

import pytest

from appliance.researcher.account import NotAResearcherError, researcher_account

NOBODY = pwd.getpwnam("nobody")


def test_an_account_within_the_limits_is_a_researchers() -> None:
    assert researcher_account("nobody", NOBODY.pw_uid, NOBODY.pw_uid) == NOBODY


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("root", "'root' has uid 0 and gid 0; researchers have uids from 2000 to 59999"),
        ("daemon", "'daemon' has uid 1 and gid 1"),
        ("nobody", f"'nobody' has uid {NOBODY.pw_uid}"),
        ("no-such-user", "'no-such-user' does not exist"),
        ("", "'' does not exist"),
        ("a\0b", r"does not exist"),
        ("\ud800", r"does not exist"),
    ],
)
def test_everyone_else_is_refused_with_the_reason(name: str, says: str) -> None:
    with pytest.raises(NotAResearcherError, match=says):
        researcher_account(name, 2000, 59999)


def test_an_account_of_roots_group_is_no_researchers() -> None:
    with pytest.raises(NotAResearcherError, match="gid 0"):
        researcher_account("root", 0, 59999)
