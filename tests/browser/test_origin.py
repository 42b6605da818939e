"""Pages of one researcher's server are of an origin of their own: they reach neither the hub nor another's server."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from appliance.demo.browser import Researcher
from appliance.demo.facility import Facility

Window = Callable[[str], Researcher]

FETCH = """
async address => {
    try {
        const answer = await fetch(address, {credentials: "include"});
        return [answer.status, await answer.text()];
    } catch (error) {
        return ["refused", error.name];
    }
}
"""
POST = """
async address => {
    const answer = await fetch(address, {method: "POST", mode: "no-cors", credentials: "include", body: "{}"});
    return answer.type;
}
"""


@pytest.fixture(scope="module")
def alice(facility: Facility, browser: Browser) -> Researcher:
    """Alice at a page of her own server, logged in, whose scripts are the attacker's."""
    alice = Researcher(browser, facility.front, "alice")
    alice.log_in(facility.password("alice"))
    alice.stop_server()
    alice.start_server()
    return alice


def tokens(page: Page, hub: str) -> int:
    """Return how many tokens alice has at the hub, as she herself sees it there."""
    found = page.context.request.get(f"{hub}/hub/api/users/alice/tokens")
    assert found.status == 200, found.text()
    return len(found.json()["api_tokens"])


def test_a_servers_page_is_of_another_origin_than_the_hub(alice: Researcher) -> None:
    assert alice.page.evaluate("origin") == alice.own
    assert alice.own != alice.hub


@pytest.mark.parametrize("path", ["/hub/api/user", "/hub/api/users/alice/tokens", "/hub/home", "/hub/token"])
def test_a_servers_page_reads_nothing_of_the_hub(alice: Researcher, path: str) -> None:
    assert alice.page.evaluate(FETCH, f"{alice.hub}{path}") == ["refused", "TypeError"]
    # A page of the hub's reads it, and so does a page of the server's own origin what is there.
    home = alice.context.new_page()
    home.goto(f"{alice.hub}/hub/home")
    status, _ = home.evaluate(FETCH, f"{alice.hub}/hub/home")
    home.close()
    assert status == 200
    assert alice.page.evaluate(FETCH, f"{alice.own}/user/alice/api/kernels")[0] == 200


def test_a_servers_page_makes_no_token_at_the_hub(alice: Researcher) -> None:
    before = tokens(alice.page, alice.hub)
    assert alice.page.evaluate(POST, f"{alice.hub}/hub/api/users/alice/tokens") == "opaque"
    assert tokens(alice.page, alice.hub) == before


def test_a_servers_page_sees_no_cookie_of_the_hubs_and_cannot_plant_a_log_in(alice: Researcher) -> None:
    assert "hub-login" not in alice.page.evaluate("document.cookie")
    name = urlsplit(alice.hub).hostname
    alice.page.evaluate(f"document.cookie = '__Host-jupyterhub-hub-login=planted; secure; path=/; domain={name}'")
    alice.page.evaluate("document.cookie = '__Host-jupyterhub-hub-login=planted; secure; path=/hub/'")
    planted = [cookie for cookie in alice.context.cookies() if cookie.get("value") == "planted"]
    assert planted == []


def test_a_server_is_not_shown_within_a_page_of_another_origin(alice: Researcher, facility: Facility) -> None:
    page = alice.context.new_page()
    page.goto(f"{facility.front.of('bob')}/hub/nothing")
    assert page.evaluate("origin") == facility.front.of("bob")
    page.evaluate(
        "address => { const frame = document.createElement('iframe'); frame.src = address; document.body.append(frame);"
        " return new Promise(done => { frame.onload = done; }).then(() => 0); }",
        f"{alice.hub}/hub/home",
    )
    assert [frame.url for frame in page.frames if "/hub/home" in frame.url and frame.locator("#start").count()] == []
    page.close()


def test_another_researchers_name_gives_nothing_of_alices(
    alice: Researcher, facility: Facility, window: Window
) -> None:
    bob = window("bob")
    bob.log_in(facility.password("bob"))
    for origin in (alice.hub, alice.own, bob.own):
        answer = bob.page.request.get(f"{origin}/user/alice/api/kernels", max_redirects=0)
        assert answer.status in (302, 403, 404), origin
    assert alice.page.request.get(f"{alice.own}/user/alice/api/kernels").status == 200
