"""The catalogue's page in a browser, of items that somebody hostile wrote; it needs no rack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from appliance.data.cataloguing import believed
from appliance.data.cataloguing.page import headers, page
from appliance.demo.browser import CHROMIUM_FLAGS

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/data"))
from catalogue_items import WORDS, item

HUB = "https://hub.test"
FEATURES = [
    item(),
    item("s3://alice/pacific.zarr", title="Pacific", bbox=[170.0, 0.0, -150.0, 20.0]),
    item("s3://alice/hostile.zarr", title=WORDS, description=WORDS, keywords=[WORDS]),
]
FEATURES[1]["bbox"] = [170.0, 0.0, -150.0, 20.0]
FEATURES[2]["properties"]["cube:variables"] = {}
SEARCHES: list[dict[str, str]] = [
    {},
    {"words": "NORTH Atlantic"},
    {"words": "atlantic salinity"},
    {"variable": "sea_surface_temperature"},
    {"variable": "ss"},
    {"from": "2000-01-03"},
    {"from": "2000-01-04"},
    {"to": "1999-12-31"},
    {"west": "-179", "east": "-170"},
    {"south": "60"},
    {"words": "pacific", "west": "160", "east": "-170"},
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*CHROMIUM_FLAGS])
        yield running
        running.close()


@pytest.fixture
def asked() -> list[str]:
    """Addresses that the browser asks for."""
    return []


def opened(browser: Browser, asked: list[str], **options: Any) -> tuple[BrowserContext, Page]:
    """The page at an address of the hub's, which has set a cookie there."""
    context = browser.new_context(**options)
    context.add_cookies([{"name": "log-in", "value": "secret", "url": HUB}])

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=200, headers=headers(), body=page(FEATURES, {}))

    context.route("**/*", answer)
    shown = context.new_page()
    shown.goto(f"{HUB}/user/alice/catalogue")
    return context, shown


def visible(shown: Page) -> list[str]:
    return [
        text for text in shown.locator("[data-text]:visible dd:first-of-type code").all_inner_texts() if "s3" in text
    ]


@pytest.mark.parametrize("fields", SEARCHES, ids=str)
def test_the_page_finds_what_the_notebook_finds(chromium: Browser, asked: list[str], fields: dict[str, str]) -> None:
    context, shown = opened(chromium, asked)
    for name, value in fields.items():
        shown.locator(f"#{name}").fill(value)
    time = None
    if {"from", "to"} & set(fields):
        time = (f"{fields.get('from', '0000-01-01')}T00:00:00Z", f"{fields.get('to', '9999-12-31')}T23:59:59Z")
    box = None
    if sides := {"west": -180.0, "south": -90.0, "east": 180.0, "north": 90.0}:
        box = [float(fields.get(name, side)) for name, side in sides.items()] if set(sides) & set(fields) else None
    words, variable = fields.get("words", "").split(), fields.get("variable")
    found = [believed.address_of(one) for one in FEATURES if believed.is_found(one, words, time, box, variable)]
    told = f"{len(found)} of 3 datasets" if len(found) < 3 else "3 datasets"
    shown.wait_for_function("told => document.getElementById('count').textContent === told", arg=told)
    assert visible(shown) == found
    shown.get_by_role("button", name="Show all").click()
    shown.wait_for_function("() => document.getElementById('count').textContent === '3 datasets'")
    context.close()


def test_no_words_of_others_are_run_and_nothing_is_asked_for(chromium: Browser, asked: list[str]) -> None:
    context, shown = opened(chromium, asked)
    assert shown.title() == "Catalogue"
    assert asked == [f"{HUB}/user/alice/catalogue"]
    context.close()


def test_a_script_that_got_in_all_the_same_would_have_nothing_of_the_hubs(chromium: Browser, asked: list[str]) -> None:
    """As a fault of a browser or of ours would: by the debugger, which no policy holds back."""
    context, shown = opened(chromium, asked)
    reach = """() => {
        const tried = {origin: self.origin}
        for (const what of ["cookie"]) {
            try { tried[what] = document[what] } catch (error) { tried[what] = error.name }
        }
        try { tried.storage = localStorage.length } catch (error) { tried.storage = error.name }
        return tried
    }"""
    assert shown.evaluate(reach) == {"origin": "null", "cookie": "SecurityError", "storage": "SecurityError"}
    shown.evaluate(f"() => fetch('{HUB}/hub/api/user', {{credentials: 'include'}}).catch(() => null)")
    assert asked == [f"{HUB}/user/alice/catalogue"]
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_is_not_scrolled_sideways(chromium: Browser, asked: list[str], scheme: Any) -> None:
    context, shown = opened(chromium, asked, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    assert shown.evaluate("() => document.documentElement.scrollWidth") <= 320
    background = shown.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 20, 20)"}[scheme]
    context.close()


def test_without_scripts_all_are_listed(chromium: Browser, asked: list[str]) -> None:
    context, shown = opened(chromium, asked, java_script_enabled=False)
    assert shown.locator("article").count() == 3
    assert not shown.locator("#search").is_visible()
    context.close()


def test_a_screen_reader_is_told_each_datasets_name_and_each_fields(chromium: Browser, asked: list[str]) -> None:
    context, shown = opened(chromium, asked)
    assert shown.get_by_role("article", name="North Atlantic").is_visible()
    assert shown.get_by_role("searchbox", name="Words").is_visible()
    assert shown.get_by_role("group", name="Area (degrees)").get_by_role("spinbutton", name="west").is_visible()
    assert shown.get_by_role("status").inner_text() == "3 datasets"
    context.close()
