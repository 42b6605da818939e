"""The page of the catalogue: a list without its script, and nobody's words become more than words."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from catalogue_items import WORDS, item

from appliance.data.cataloguing.page import headers, https_address, page

EVERYWHERE = {"title": WORDS, "description": WORDS, "keywords": [WORDS], "sci:citation": WORDS}
EVERYWHERE |= {
    "cube:variables": {WORDS: {"type": "data", "description": WORDS, "unit": WORDS, "cf:standard_name": WORDS}},
    "cube:dimensions": {WORDS: {"type": "other", "size": 1}},
}


class Seen(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and texts."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return [name for name, _ in self.elements].count(tag)


def shown(*features: dict[str, Any], public_url: str = "", **previews: str) -> Seen:
    return Seen(page(features, {f"s3://alice/{name}.zarr": url for name, url in previews.items()}, public_url))


@pytest.mark.parametrize("public_url", ["", "https://data.example.org"])
def test_words_of_others_become_no_elements(public_url: str) -> None:
    plain, hostile = (shown(one, public_url=public_url) for one in (item(), item(f"s3://alice/{WORDS}", **EVERYWHERE)))
    assert hostile.count("script") == plain.count("script") == 1
    assert hostile.count("img") == 0
    names = {name for _, attributes in hostile.elements for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert WORDS in hostile.texts


def test_the_page_runs_its_own_script_and_style_and_no_others() -> None:
    text = page([item()], {})
    policy = headers()["Content-Security-Policy"]
    for element in ("script", "style"):
        (inside,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    # Of no origin: neither cookies nor pages of the name that it is served at are within its reach.
    assert policy.endswith("; sandbox allow-scripts")
    (meta,) = [a["content"] for _, a in Seen(text).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert meta is not None
    assert policy.startswith(meta)
    assert not [a for _, a in Seen(text).elements if "style" in a]


def test_without_its_script_the_page_is_a_list_of_all() -> None:
    told = item(license="CC-BY-4.0", description="Three days", **{"sci:citation": "Somebody, 2026"})
    seen = shown(told, item("s3://alice/b.zarr"), north="data:image/png;base64,AAAA")
    text = "".join(seen.texts)
    words = (
        "North Atlantic",
        "Three days",
        "s3://alice/north.zarr",
        "CC-BY-4.0",
        "Somebody, 2026",
        "2 datasets",
        "sst",
    )
    assert [word for word in (*words, "west -30, south 30, east 10, north 50") if word not in text] == []
    assert 'appliance.data.catalogue()["s3://alice/b.zarr"].open()' in text
    assert [a["hidden"] for tag, a in seen.elements if tag == "search"] == [None]
    assert [a["alt"] for tag, a in seen.elements if tag == "img"] == ["One field of North Atlantic"]
    labelled = {a.get("for") for tag, a in seen.elements if tag == "label"}
    assert {a["id"] for tag, a in seen.elements if tag == "input"} == labelled


def test_the_public_page_says_how_outsiders_open_it() -> None:
    url = "https://data.example.org"
    text = "".join(shown(item(), item("s3://alice/all.json", "kerchunk"), public_url=url).texts)
    assert f'xr.open_zarr("{url}/alice/north.zarr")' in text
    assert f'"endpoint_url": "{url}"' in text
    assert https_address("s3://alice/Ordner ü/a?b.nc", url) == f"{url}/alice/Ordner%20%C3%BC/a%3Fb.nc"
