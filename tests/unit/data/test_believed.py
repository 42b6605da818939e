"""Of items that somebody else wrote only what has the form of one is believed."""

from __future__ import annotations

import json
from typing import Any

import pystac
import pytest
from catalogue_items import WORDS, item, with_value
from hypothesis import given
from hypothesis import strategies as st

from appliance.data.cataloguing import believed

DATA = ("assets", "data", "href")
NOT_BELIEVED: dict[str, tuple[tuple[str, ...], Any]] = {
    "data in another's bucket": (DATA, "s3://carol/north.zarr"),
    "data in a bucket whose name begins so": (DATA, "s3://alice-2/north.zarr"),
    "data elsewhere": (DATA, "https://example.org/north.zarr"),
    "data on a disk": (DATA, "file:///etc/passwd"),
    "a way out of the bucket": (DATA, "s3://alice/../carol/north.zarr"),
    "a whole bucket": (DATA, "s3://alice/"),
    "a line break in the address": (DATA, "s3://alice/a\nb.zarr"),
    "letters that turn the line around": (DATA, "s3://alice/\u202etxt.zarr"),
    "no address": (DATA, 7),
    "another kind": (("assets", "data", "type"), "application/x-pickle"),
    "a kind that is a list": (("assets", "data", "type"), ["application/vnd.zarr"]),
    "no assets": (("assets",), []),
    "a name that is a path": (("id",), "../../published"),
    "a name that is HTML": (("id",), WORDS),
    "no name": (("id",), None),
}


@pytest.mark.parametrize("what", NOT_BELIEVED)
def test_what_is_no_item_of_the_buckets_own_data_is_left_out(what: str) -> None:
    forged = with_value(item(), *NOT_BELIEVED[what])
    assert believed.features(believed.document([forged, item("s3://alice/b.zarr")]), "alice") == [
        item("s3://alice/b.zarr")
    ]


def test_nobody_says_whose_the_data_is() -> None:
    """What a collected item tells of its owner is the facility's word."""
    forged = with_value(item(), ("properties", believed.OWNER), "carol")
    (seen,) = believed.features(believed.document([forged]), "alice")
    assert believed.OWNER not in seen["properties"]
    (collected,) = believed.features(believed.document([forged]), None)
    assert collected["properties"][believed.OWNER] == "carol"


@pytest.mark.parametrize("field", ["engine", "xarray:open_kwargs", "xarray:storage_options", "anything"])
def test_nothing_is_taken_over_that_is_not_known(field: str) -> None:
    for path in (("assets", "data", field), ("properties", field), (field,)):
        forged = with_value(item(), path, {"backend": "os.system"})
        assert believed.features(believed.document([forged]), "alice") == [item()]


def test_a_preview_is_the_items_own() -> None:
    own = "s3://alice/.catalogue/previews/north-zarr.png"
    for href, there in ((own, True), (own.replace("alice", "carol"), False), ("https://example.org/p.png", False)):
        told = with_value(item(), ("assets", "thumbnail"), {"href": href})
        (seen,) = believed.features(believed.document([told]), "alice")
        assert ("thumbnail" in seen["assets"]) == there


VALUES: dict[str, tuple[tuple[str, ...], Any]] = {
    "a number that no float holds": (("bbox",), [10**400, 0, 1, 1]),
    "an area beyond the Earth": (("bbox",), [0, -91, 1, 1]),
    "an area upside down": (("bbox",), [0, 5, 1, 1]),
    "a time that is none": (("properties", "start_datetime"), "soon"),
    "a time without its end": (("properties", "end_datetime"), None),
    "a licence that is HTML": (("properties", "license"), WORDS),
    "keywords that are none": (("properties", "keywords"), {"a": 1}),
    "variables that are none": (("properties", "cube:variables"), ["a"]),
    "a shape that is none": (("properties", "cube:variables"), {"a": {"shape": ["x", True, 10**400], "dimensions": 1}}),
    "a size that is none": (("properties", "cube:dimensions"), {"a": {"size": "many", "extent": [1]}}),
    "a type that is a list of lists": (("properties", "cube:dimensions"), {"a": {"type": [[[]]]}}),
    "dimensions that are no names": (("properties", "cube:variables"), {"a": {"dimensions": [["a"], {"b": 1}]}}),
    "a lone half of a character": (("properties", "title"), "\ud800"),
}


@pytest.mark.parametrize("what", VALUES)
def test_a_value_that_is_none_is_left_out_and_the_item_stays_one(what: str) -> None:
    path, value = VALUES[what]
    (seen,) = believed.features(json.dumps({"features": [with_value(item(), path, value)]}).encode(), "alice")
    pystac.Item.from_dict(seen)
    believed.document([seen]).decode()
    assert json.dumps(value) not in json.dumps(seen)


def test_what_is_written_is_read_back_the_same() -> None:
    told = item(description="a\nb", keywords=["x"], license="CC-BY-4.0", **{"sci:citation": "Somebody, 2026"})
    assert believed.features(believed.document([told]), "alice") == [told]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PLACES = st.sampled_from(
    [
        *(("id",), ("bbox",), ("assets",), ("properties",), ("assets", "data"), ("assets", "thumbnail"), DATA),
        *(("properties", name) for name in ("title", "keywords", "license", "cube:variables", "cube:dimensions")),
        ("properties", "cube:variables", "sst"),
        ("properties", "cube:dimensions", "time"),
    ]
)


@given(PLACES, JSON)
def test_nothing_that_json_can_say_breaks_a_reader(path: tuple[str, ...], value: Any) -> None:
    document = json.dumps({"features": [with_value(item(), path, value), item("s3://alice/b.zarr")]}).encode()
    seen = believed.features(document, "alice")
    assert "s3://alice/b.zarr" in {believed.address_of(one) for one in seen}
    for one in seen:
        assert believed.features(believed.document([one]), "alice") == [one]
        assert believed.searched(one) == believed.searched(one).casefold()


@pytest.mark.parametrize("document", [b"", b"\xff", b"null", b"{}", b'{"features": {}}', b"[" * 100_000, b"9" * 5000])
def test_what_is_no_collection_has_no_items(document: bytes) -> None:
    assert believed.features(document, "alice") == []
