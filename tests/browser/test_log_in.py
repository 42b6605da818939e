"""Who gets in, and how far: passwords, accounts, and each other's servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser

from appliance.demo.browser import BrowserError, Researcher
from appliance.demo.facility import Facility

Window = Callable[[str], Researcher]


@pytest.fixture(scope="module")
def server_of_alice(facility: Facility, browser: Browser) -> Researcher:
    alice = Researcher(browser, facility.front, "alice")
    alice.log_in(facility.password("alice"))
    alice.stop_server()
    alice.start_server()
    return alice


def test_a_wrong_password_is_refused_in_words(window: Window) -> None:
    with pytest.raises(BrowserError, match="Invalid username or password"):
        window("alice").log_in("not-the-password")


def test_the_password_of_another_is_refused(facility: Facility, window: Window) -> None:
    with pytest.raises(BrowserError, match="Invalid username or password"):
        window("alice").log_in(facility.password("bob"))


@pytest.mark.parametrize("name", ["root", "ceph", "nobody", "no-such-person", "alice; true"])
def test_only_researchers_get_in(facility: Facility, window: Window, name: str) -> None:
    with pytest.raises(BrowserError, match="not logged in"):
        window(name).log_in(facility.password("alice"))


def test_another_researchers_server_cannot_be_reached(
    server_of_alice: Researcher, facility: Facility, window: Window
) -> None:
    bob = window("bob")
    bob.log_in(facility.password("bob"))
    alices = facility.front.of("alice")
    page = bob.page.goto(f"{alices}/user/alice/lab")
    assert page is not None
    assert page.status == 403
    for path in ("api/contents/", "api/kernels", "files/examples/sea-surface-temperature.ipynb", "metrics"):
        answer = bob.page.goto(f"{alices}/user/alice/{path}")
        assert answer is not None
        assert answer.status == 403 or "/hub/" in answer.url, path
    # The same questions, asked by alice, are answered.
    assert server_of_alice.fetch(f"{alices}/user/alice/api/kernels")[0] == 200


def test_nobody_gets_in_without_a_log_in(server_of_alice: Researcher, window: Window) -> None:
    stranger = window("stranger")
    stranger.page.goto(f"{server_of_alice.own}/user/alice/lab")
    assert "/hub/login" in stranger.page.url
    answer = stranger.page.goto(f"{server_of_alice.own}/user/alice/api/contents/")
    assert answer is not None
    assert answer.status == 403 or "/hub/login" in answer.url
