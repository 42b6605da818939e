"""Which accounts are made, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import researchers

GROUPS = [{"name": "climate", "gid": 3001}]
ALICE: dict[str, Any] = {"name": "alice", "uid": 2001, "groups": ["climate"]}


RULES = researchers.Rules("[a-z][a-z0-9-]{1,30}[a-z0-9]", 2000, 59999)


def bare(**users: int) -> Any:
    return researchers.Machine(
        users={name: (uid, uid, f"/home/{name}", "/bin/bash") for name, uid in users.items()},
        groups={name: (uid, frozenset()) for name, uid in users.items()},
    )


def test_a_bare_machine_gets_groups_first() -> None:
    made = researchers.plan(bare(root=0), GROUPS, [ALICE], "/bin/bash", "/home", RULES)
    assert [command[0] for command in made.commands] == ["groupadd", "groupadd", "useradd", "gpasswd"]
    assert ["groupadd", "--gid", "2001", "alice"] in made.commands
    assert made.faults == []


def test_a_settled_machine_gets_nothing() -> None:
    machine = researchers.Machine(
        users={"alice": (2001, 2001, "/home/alice", "/bin/bash")},
        groups={"alice": (2001, frozenset()), "climate": (3001, frozenset({"alice"}))},
    )
    assert researchers.plan(machine, GROUPS, [ALICE], "/bin/bash", "/home", RULES).commands == []


def test_leaving_a_group_is_followed() -> None:
    machine = researchers.Machine(
        users={"alice": (2001, 2001, "/home/alice", "/bin/bash")},
        groups={"alice": (2001, frozenset()), "climate": (3001, frozenset({"alice", "bob"}))},
    )
    users = [{**ALICE, "groups": []}, {"name": "bob", "uid": 2002}]
    machine = dataclasses.replace(machine, users={**machine.users, "bob": (2002, 2002, "/home/bob", "/bin/bash")})
    machine = dataclasses.replace(machine, groups={**machine.groups, "bob": (2002, frozenset())})
    made = researchers.plan(machine, GROUPS, users, "/bin/bash", "/home", RULES)
    assert made.commands == [["gpasswd", "--members", "", "climate"]]


def settled(*expired: str) -> Any:
    """A machine with alice and bob, who share a group."""
    return researchers.Machine(
        users={name: (uid, uid, f"/home/{name}", "/bin/bash") for name, uid in (("alice", 2001), ("bob", 2002))},
        groups={
            "alice": (2001, frozenset()),
            "bob": (2002, frozenset()),
            "climate": (3001, frozenset({"alice", "bob"})),
        },
        expired=frozenset(expired),
    )


def test_who_is_taken_off_the_list_is_named_and_keeps_what_they_have() -> None:
    assert researchers.plan(settled(), GROUPS, [ALICE], "/bin/bash", "/home", RULES).commands == []
    assert researchers.unlisted(settled(), [ALICE], "climate") == ["bob"]
    assert researchers.unlisted(settled(), [ALICE], "no-such-group") == []


@pytest.mark.parametrize("state", ["locked", "absent"])
def test_who_is_locked_is_let_in_by_nothing_and_loses_nothing(state: str) -> None:
    users = [{**ALICE, "state": state}, {"name": "bob", "uid": 2002, "groups": ["climate"], "state": "present"}]

    def commands(machine: Any, secrets: dict[str, str] | None) -> Any:
        return researchers.plan(machine, GROUPS, users, "/bin/bash", "/home", RULES, secrets).commands

    assert commands(settled(), None) == [["usermod", "--expiredate", "1", "alice"]]
    assert commands(settled(), {"bob": ""}) == [["usermod", "--expiredate", "1", "--lock", "alice"]]
    assert commands(settled("alice"), None) == []
    # Back again.
    assert commands(settled("alice", "bob"), None) == [["usermod", "--expiredate", "", "bob"]]
    assert commands(settled("alice", "bob"), {"bob": ""}) == [["usermod", "--expiredate", "", "bob"]]
    shut = dataclasses.replace(settled("alice", "bob"), locked=frozenset({"bob"}))
    assert commands(shut, {"bob": ""}) == [["usermod", "--expiredate", "", "--unlock", "bob"]]
    assert commands(shut, None) == [["usermod", "--expiredate", "", "bob"]]
    assert not researchers.matches("a password", "!$y$j9T$locked")


def test_of_who_has_left_a_new_machine_gets_the_account_and_no_home() -> None:
    """The account keeps the uid from anybody else."""
    made = researchers.plan(bare(), [], [{**ALICE, "groups": [], "state": "absent"}], "/bin/bash", "/home", RULES)
    assert "--no-create-home" in made.commands[1]
    assert made.commands[2] == ["usermod", "--expiredate", "1", "alice"]
    assert researchers.plan(bare(alice=2001), [], [{"name": "zoe", "uid": 2001}], "", "/home", RULES).faults


def test_an_absent_researchers_home_is_not_made_again(tmp_path: Path) -> None:
    assert researchers.wrong_homes([{**ALICE, "state": "absent"}], str(tmp_path)) == []
    assert researchers.wrong_homes([{**ALICE, "state": "locked"}], str(tmp_path)) == [(tmp_path / "alice", 2001)]


@pytest.mark.parametrize(
    ("change", "machine", "said"),
    [
        ({}, {"mallory": 2001}, "2001 is mallory's"),
        ({}, {"alice": 1007}, "alice has 1007 on this machine"),
        ({"uid": 0}, {}, "0 is the system's; use 2000 to 59999"),
        ({"uid": 1999}, {}, "1999 is the system's"),
        ({"uid": 60000}, {}, "60000 is the system's"),
        ({"name": "Alice"}, {}, "'Alice' is no name"),
        ({"name": "al_ice"}, {}, "'al_ice' is no name"),
        ({"name": "a" * 33}, {}, "is no name"),
        ({"groups": ["ocean"]}, {}, "ocean has no gid"),
        ({}, {"climate": 3001, "other": 3002}, ""),
    ],
)
def test_what_does_not_fit_the_machine_is_refused(change: dict[str, Any], machine: dict[str, int], said: str) -> None:
    made = researchers.plan(bare(**machine), GROUPS, [ALICE | change], "/bin/bash", "/home", RULES)
    if said:
        assert any(said in fault for fault in made.faults)
        assert made.commands == []
    else:
        assert made.faults == []


def test_all_faults_are_told_at_once() -> None:
    users = [ALICE, {"name": "bob", "uid": 2001}, {"name": "x", "uid": 5}]
    faults = researchers.plan(bare(mallory=2001), GROUPS, users, "/bin/bash", "/home", RULES, {"alice": ""}).faults
    text = "\n".join(faults)
    for part in ("uid 2001 is there twice", "'x' is no name", "5 is the system's", "accounts_passwords.bob: missing"):
        assert part in text


def test_a_stored_hash_is_known_again() -> None:
    # As `openssl passwd -5 -salt saltstring` makes it.
    stored = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
    assert researchers.matches("Hello world!", stored)
    assert not researchers.matches("Hello world?", stored)
    assert researchers.matches(stored, stored)
    assert not researchers.matches("Hello world!", "!")
