"""Researchers log in by the passwords of a directory, and have its groups; nobody else gets in by it."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from typing import Any

import directory
import pytest
from hub_session import HubSession
from machines import FACILITY, HEAD, ask
from made_certificates import authority
from site_run import play

pytestmark = pytest.mark.long

PASSWORDS = {"alice": "of-the-directory", "bob": "also-of-it", "zoe": "not-of-the-facility"}
GROUP = f"cn=ocean-people,ou=groups,{directory.BASE}"
OURS = "test-ocean"


def variables(certificate: str, **changed: object) -> dict[str, Any]:
    return {
        "jupyterhub_log_in": "ldap",
        "jupyterhub_ldap_server": directory.NAME,
        "jupyterhub_ldap_port": directory.PORT,
        "jupyterhub_ldap_user_dn": directory.USER_DN,
        "jupyterhub_ldap_groups": {GROUP: OURS},
        "jupyterhub_provider_authorities": certificate,
        "jupyterhub_log_in_tries": 30,  # there are more here than a person makes
        **changed,
    }


@pytest.fixture(scope="module")
def certificate() -> Iterator[str]:
    """A facility whose log-ins a directory checks; afterwards its own passwords count again."""
    ask(HEAD, f"groupadd --gid 59000 {OURS}")
    try:
        with directory.directory(PASSWORDS, {"ocean-people": ["bob", "zoe"], "others": ["alice"]}) as certificate:
            done = play("hub.yml", **variables(certificate))
            assert done.status == 0, done.said
            yield certificate
    finally:
        assert play("hub.yml").status == 0
        ask(HEAD, f"groupdel {OURS}")


def status(name: str, password: str) -> tuple[int, str]:
    """With what the hub answers to a log-in, and its page where it refuses."""
    session = HubSession(FACILITY.front, name)
    try:
        session.log_in(password)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    return 200, ""


@pytest.mark.usefixtures("certificate")
def test_the_directorys_password_lets_in_and_no_other() -> None:
    assert status("alice", PASSWORDS["alice"])[0] == 200
    for wrong in (FACILITY.password("alice"), "", PASSWORDS["bob"], "*", "of-the-directory\0"):
        assert status("alice", wrong)[0] in (400, 403), wrong


def test_the_facility_is_checked_without_a_password(certificate: str) -> None:
    done = play("verify.yml", **variables(certificate))
    assert done.status == 0, done.said
    assert "a token of" in done.said
    assert "logs in" not in done.said


@pytest.mark.usefixtures("certificate")
@pytest.mark.parametrize("name", ["zoe", "root", "nobody", "*", "alice)(uid=bob", "uid=alice,ou=people"])
def test_nobody_gets_in_whom_the_facility_does_not_know(name: str) -> None:
    assert status(name, PASSWORDS.get(name, "x"))[0] == 403


@pytest.mark.usefixtures("certificate")
def test_who_is_locked_is_not_let_in_by_the_directory() -> None:
    """Role `accounts` locks by the account's last day; the directory still takes the password."""
    ask(HEAD, "chage --expiredate 1 bob")
    try:
        assert status("bob", PASSWORDS["bob"])[0] == 403
    finally:
        ask(HEAD, "chage --expiredate -1 bob")
    assert status("bob", PASSWORDS["bob"])[0] == 200


@pytest.mark.usefixtures("certificate")
def test_a_researcher_has_the_groups_that_the_site_has_named() -> None:
    for name, expected in (("bob", True), ("alice", False)):
        session = HubSession(FACILITY.front, name)
        session.log_in(PASSWORDS[name])
        session.stop()
        session.start()
        pid = ask(HEAD, f"systemctl show --value --property=MainPID jupyter-{name}-singleuser").strip()
        groups = ask(HEAD, f"sed -n 's/^Groups://p' /proc/{pid}/status").split()
        assert ("59000" in groups) == expected
        # Those of the inventory stay.
        assert "3001" in groups
        session.stop()


@pytest.mark.usefixtures("certificate")
def test_where_the_directory_is_down_who_is_in_stays_in_and_the_page_says_what_is_wrong() -> None:
    alice = HubSession(FACILITY.front, "alice")
    alice.log_in(PASSWORDS["alice"])
    directory.stop()
    try:
        code, page = status("bob", PASSWORDS["bob"])
        assert code == 503
        assert "The directory, which says who you are, does not answer" in page
        alice.ask("/hub/api/users/alice")
    finally:
        directory.start()
    assert status("bob", PASSWORDS["bob"])[0] == 200


def test_a_directory_of_another_authority_is_asked_for_no_password(certificate: str) -> None:
    assert play("hub.yml", **variables(authority("Another one").pem)).status == 0
    try:
        code, page = status("alice", PASSWORDS["alice"])
        assert code == 503
        assert "does not answer" in page
    finally:
        assert play("hub.yml", **variables(certificate)).status == 0
    assert status("alice", PASSWORDS["alice"])[0] == 200


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"jupyterhub_ldap_user_dn": "uid=alice"}, "user_dn"),
        ({"jupyterhub_ldap_user_dn": f"{directory.USER_DN},ou={{ou}}"}, "user_dn"),
        ({"jupyterhub_provider_authorities": "/etc/ssl/site.pem"}, "jupyterhub_provider_authorities"),
        ({"jupyterhub_ldap_server": ""}, "server"),
        ({"jupyterhub_ldap_group_filter": "(objectClass=*)"}, "group_filter"),
        ({"jupyterhub_ldap_groups": {GROUP: "No Group"}}, "groups"),
    ],
)
def test_settings_that_cannot_work_change_nothing(certificate: str, changed: dict[str, object], told: str) -> None:
    before = ask(HEAD, "sha256sum /etc/jupyterhub/provider.json")
    done = play("hub.yml", **variables(certificate, **changed))
    assert done.status != 0
    assert told in done.said
    assert ask(HEAD, "sha256sum /etc/jupyterhub/provider.json") == before
    assert status("alice", PASSWORDS["alice"])[0] == 200
