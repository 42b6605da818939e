"""Pages of one researcher's server are of an origin of their own: they reach neither the hub nor another's server."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from appliance.demo.browser import Researcher
from appliance.demo.facility import Facility

Window = Callable[[str], Researcher]

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


def at_hub(alice: Researcher, path: str) -> tuple[int, str]:
    """What a page of the hub's gets from a path there; alice's own page stays as it is."""
    own, alice.page = alice.page, alice.context.new_page()
    try:
        alice.page.goto(f"{alice.hub}/hub/home")
        return alice.fetch(path)
    finally:
        alice.page.close()
        alice.page = own


def tokens(alice: Researcher) -> int:
    """Return how many tokens alice has at the hub, as she herself sees it there."""
    status, text = at_hub(alice, "/hub/api/users/alice/tokens")
    assert status == 200, text
    return len(json.loads(text)["api_tokens"])


def test_a_servers_page_is_of_another_origin_than_the_hub(alice: Researcher) -> None:
    assert alice.page.evaluate("origin") == alice.own
    assert alice.own != alice.hub


@pytest.mark.parametrize("path", ["/hub/api/user", "/hub/api/users/alice/tokens", "/hub/home", "/hub/token"])
def test_a_servers_page_reads_nothing_of_the_hub(alice: Researcher, path: str) -> None:
    assert alice.fetch(f"{alice.hub}{path}") == (0, "TypeError")
    # By the name of the own server, the hub's pages are not there either.
    assert alice.fetch(path)[0] == 0
    # A page of the hub's reads it, and so does a page of the server's own origin what is there.
    assert at_hub(alice, path)[0] == 200
    assert alice.fetch("/user/alice/api/kernels")[0] == 200


def test_a_servers_page_makes_no_token_at_the_hub(alice: Researcher) -> None:
    before = tokens(alice)
    assert alice.page.evaluate(POST, f"{alice.hub}/hub/api/users/alice/tokens") == "opaque"
    assert tokens(alice) == before


def test_a_servers_page_sees_no_cookie_of_the_hubs_and_cannot_plant_a_log_in(alice: Researcher) -> None:
    assert "hub-login" not in alice.page.evaluate("document.cookie")
    name = urlsplit(alice.hub).hostname
    alice.page.evaluate(f"document.cookie = '__Host-jupyterhub-hub-login=planted; secure; path=/; domain={name}'")
    alice.page.evaluate("document.cookie = '__Host-jupyterhub-hub-login=planted; secure; path=/hub/'")
    planted = [cookie for cookie in alice.context.cookies() if cookie.get("value") == "planted"]
    assert planted == []


def test_a_server_is_not_shown_within_a_page_of_another_origin(alice: Researcher, facility: Facility) -> None:
    page, bobs = alice.context.new_page(), facility.front.of("bob")
    # A page of bob's making, which alice opens.
    page.route(f"{bobs}/page", lambda route: route.fulfill(content_type="text/html", body="<body></body>"))
    page.goto(f"{bobs}/page")
    assert page.evaluate("origin") == bobs
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
        answer = bob.page.goto(f"{origin}/user/alice/api/kernels")
        assert answer is not None
        assert answer.status in (403, 404) or "/hub/" in answer.url, origin
    assert alice.fetch("/user/alice/api/kernels")[0] == 200
