"""Passwords cannot be guessed by trying, others are let in meanwhile, and what a log-in gives comes to an end."""

from __future__ import annotations

import dataclasses
import json
import urllib.error
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from inspect import getsource
from typing import Any

import hub_session
import pytest
from hub_session import HubSession
from intruder import PYTHON
from machines import FACILITY, HEAD, ask

from appliance import hub_front

TRIES = 5  # of one name from one address: roles/jupyterhub/defaults/main.yml
TOKEN_DAYS = 30
# Addresses of the head's own, which are nobody else's, so that no other test is kept out.
GUESSER, OTHER = "127.0.0.2", "127.0.0.3"
PROGRAM = """
from concurrent.futures import ThreadPoolExecutor

connect = socket.create_connection
socket.create_connection = lambda address, timeout=None, *_: connect(address, timeout, (SOURCE, 0))

def outcome(name, password, **headers):
    session = HubSession(FRONT, name)
    session._opener.addheaders += [(header.replace("_", "-"), value) for header, value in headers.items()]
    try:
        session.log_in(password)
    except urllib.error.HTTPError as error:
        return [error.code, int(error.headers.get("Retry-After", 0)), error.read().decode()]
    return [200, 0, ""]

def together(name, password, times):
    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(lambda _: outcome(name, password), range(times)))
"""


def outcomes(source: str, tries: str) -> list[tuple[int, int, str]]:
    """Return what became of log-ins from an address: status, seconds to wait, page. ``tries`` is a list in Python."""
    # By way of standard input: a password is on no command line.
    # One program of both, which says once how it is to be read.
    theirs = getsource(hub_front).replace("from __future__ import annotations", "")
    own = getsource(hub_session).replace("from appliance.hub_front import Front\n", theirs)
    front = dataclasses.replace(FACILITY.front, address="127.0.0.1")
    program = f"{own}\nFRONT, SOURCE = {front!r}, {source!r}\n{PROGRAM}\nprint(json.dumps({tries}))"
    return [tuple(found) for found in json.loads(ask(HEAD, f"{PYTHON} -", given=program))]


def codes(found: list[tuple[int, int, str]]) -> list[int]:
    return [code for code, _, _ in found]


@pytest.fixture
def _nobody_is_kept_out() -> Iterator[None]:
    """Forget the tries after a test: a hub that starts knows none."""
    yield
    ask(HEAD, "systemctl restart jupyterhub")
    url = f"http://127.0.0.1:{FACILITY.facts['jupyterhub_proxy_port']}/hub/health"
    ask(HEAD, f"curl --silent --show-error --fail --retry 60 --retry-all-errors --retry-delay 1 {url}")


@pytest.mark.usefixtures("_nobody_is_kept_out")
def test_after_some_wrong_passwords_not_even_the_right_one_is_taken_from_there() -> None:
    right = FACILITY.password("bob")
    found = outcomes(GUESSER, f"[outcome('bob', 'wrong') for _ in range({TRIES})] + [outcome('bob', {right!r})]")
    assert codes(found) == [403] * TRIES + [429]
    _, wait, page = found[-1]
    assert 0 < wait <= 300
    assert "Too many tries to log in. Try again in " in page
    # The same name from elsewhere, and another name from there.
    assert codes(outcomes(OTHER, f"[outcome('bob', {right!r})]")) == [200]
    assert codes(outcomes(GUESSER, f"[outcome('alice', {FACILITY.password('alice')!r})]")) == [200]


@pytest.mark.usefixtures("_nobody_is_kept_out")
def test_many_tries_at_once_are_no_way_around() -> None:
    found = codes(outcomes(GUESSER, "together('bob', 'wrong', 12)"))
    assert sorted(found) == [403] * TRIES + [429] * (12 - TRIES)


@pytest.mark.parametrize("header", ["X_Forwarded_For", pytest.param("X_Real_IP", marks=pytest.mark.long)])
@pytest.mark.usefixtures("_nobody_is_kept_out")
def test_a_forged_address_is_no_way_around(header: str) -> None:
    tries = f"[outcome('bob', 'wrong', {header}=f'203.0.113.{{n}}') for n in range({TRIES + 1})]"
    found = codes(outcomes(GUESSER, tries))
    assert found == [403] * TRIES + [429]


@pytest.mark.usefixtures("_nobody_is_kept_out")
def test_a_name_in_other_letters_is_the_same_name() -> None:
    found = codes(outcomes(GUESSER, "[outcome(name, 'wrong') for name in ('bob', 'Bob', 'BOB', 'bOb', 'boB', 'BoB')]"))
    assert found == [403] * TRIES + [429]


@pytest.mark.usefixtures("_nobody_is_kept_out")
@pytest.mark.long
def test_names_that_do_not_exist_are_refused_alike() -> None:
    found = outcomes(GUESSER, f"[outcome('nobody-here', 'wrong') for _ in range({TRIES + 1})]")
    known = outcomes(GUESSER, f"[outcome('bob', 'wrong') for _ in range({TRIES + 1})]")
    assert codes(found) == codes(known) == [403] * TRIES + [429]


@pytest.fixture(scope="module")
def bob() -> HubSession:
    session = HubSession(FACILITY.front, "bob")
    session.log_in(FACILITY.password("bob"))
    return session


def test_a_token_without_an_end_gets_one(bob: HubSession) -> None:
    assert expiry(bob, {"note": "for ever"}) <= timedelta(days=TOKEN_DAYS)
    assert expiry(bob, {"note": "an hour", "expires_in": 3600}) <= timedelta(hours=1)


def test_a_token_for_longer_is_refused(bob: HubSession) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        expiry(bob, {"note": "long", "expires_in": TOKEN_DAYS * 86400 + 1})
    assert caught.value.code == 400
    assert "must not exceed" in caught.value.read().decode()


def expiry(session: HubSession, wanted: dict[str, Any]) -> timedelta:
    """Ask for an API token and return how long it lives; the token is taken back."""
    token = json.loads(session.ask(f"/hub/api/users/{session.user}/tokens", data=json.dumps(wanted).encode()))
    session.ask(f"/hub/api/users/{session.user}/tokens/{token['id']}", method="DELETE")
    found: timedelta = datetime.fromisoformat(token["expires_at"]) - datetime.now(UTC)
    return found


def test_cookies_of_hub_and_server_are_not_sent_for_other_sites(bob: HubSession) -> None:
    if not bob.server():
        bob.start()
    bob.ask(f"/user/{bob.user}/lab")
    # By address and path too: hub and server have one called _xsrf each.
    attributes = {
        (cookie.name, cookie.domain, cookie.path): cookie.get_nonstandard_attr("SameSite") for cookie in bob.jar
    }
    names = [name for name, _, _ in attributes]
    assert names.count("_xsrf") == 2
    assert {"__Host-jupyterhub-hub-login", f"__Host-jupyterhub-user-{bob.user}"} <= set(names)
    assert set(attributes.values()) == {"Lax"}, attributes
