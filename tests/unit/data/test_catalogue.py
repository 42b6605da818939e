"""Datasets put into the catalogue, found there by what they are, and opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fsspec
import numpy as np
import plain_xarray  # noqa: F401  # as the interpreter of an environment does
import pystac
import pytest
import xarray as xr
from catalogue_items import item
from s3_endpoint import S3Endpoint

from appliance.data import DataError, catalogue, forget, record, virtualize
from appliance.data.cataloguing import kept, search
from appliance.data.cataloguing.believed import ITEMS, is_found, kind_of
from appliance.data.cataloguing.items import item_of
from appliance.data.cataloguing.own_page import PREVIEW_BYTES, own_page


def sea(start: str = "2000-01-01", west: float = -30.0, **attributes: Any) -> xr.Dataset:
    """Three days of a small area of 40 by 20 degrees."""
    return xr.Dataset(
        {
            "sst": (
                ("time", "lat", "lon"),
                np.arange(60.0).reshape(3, 4, 5),
                {"standard_name": "sea_surface_temperature", "long_name": "Temperature of the sea", "units": "K"},
            )
        },
        coords={
            "time": np.datetime64(start, "ns") + np.arange(3) * np.timedelta64(1, "D"),
            "lat": ("lat", [30.0, 35.0, 40.0, 50.0], {"units": "degrees_north"}),
            "lon": ("lon", west + np.arange(5) * 10.0, {"units": "degrees_east"}),
        },
        attrs=attributes,
    )


@pytest.fixture
def written(endpoint: S3Endpoint) -> Callable[..., str]:
    """``written(name, dataset)`` writes a Zarr store to the bucket alice and returns its address."""

    def put(name: str, dataset: xr.Dataset) -> str:
        dataset.to_zarr(f"s3://alice/{name}", mode="w", consolidated=True, zarr_format=2)
        return f"s3://alice/{name}"

    assert endpoint.objects() == []
    return put


def found(**asked: Any) -> list[str]:
    return [one.address for one in catalogue().search(asked.pop("words", ""), **asked)]


def test_what_was_written_is_found_and_opened_in_one_line(written: Callable[..., str]) -> None:
    url = written("north.zarr", sea(title="North Atlantic"))
    record(url)
    xr.testing.assert_identical(catalogue().search("atlantic surface").open().load(), sea(title="North Atlantic"))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("attributes", [{}, {"title": "North"}])
def test_anothers_dataset_is_opened_though_its_bucket_is_not_listed(
    endpoint: S3Endpoint, zarr_format: Any, attributes: dict[str, str]
) -> None:
    """The S3 gateway refuses what is not there as it refuses what is secret: Zarr asks for both its versions' names."""
    (endpoint.folder / "carol").mkdir()
    url = "s3://carol/north.zarr"
    sea(**attributes).to_zarr(url, mode="w", consolidated=True, zarr_format=zarr_format)
    entry = search.Entry(item(url), published=True)
    endpoint.unlisted.add("carol")
    fsspec.filesystem("s3").invalidate_cache()
    xr.testing.assert_identical(entry.open().load(), sea(**attributes))


def test_a_chunk_that_is_refused_is_no_chunk_of_nothing(endpoint: S3Endpoint) -> None:
    (endpoint.folder / "carol").mkdir()
    url = "s3://carol/north.zarr"
    sea().to_zarr(url, mode="w", consolidated=True, zarr_format=2)
    entry = search.Entry(item(url), published=True)
    endpoint.unlisted.add("carol")
    opened = entry.open()
    (endpoint.folder / "carol/north.zarr/sst/0.0.0").unlink()
    with pytest.raises(PermissionError):
        opened.load()


def test_an_entry_says_what_the_dataset_is(written: Callable[..., str]) -> None:
    entry = record(written("north.zarr", sea(title="North Atlantic", summary="Three days")))
    properties = entry.feature["properties"]
    assert (entry.title, properties["description"], entry.variables) == ("North Atlantic", "Three days", ["sst"])
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "2000-01-01T00:00:00Z",
        "2000-01-03T00:00:00Z",
    )
    assert entry.feature["bbox"] == [-30.0, 30.0, 10.0, 50.0]
    assert properties["cube:variables"]["sst"] == {
        "type": "data",
        "dimensions": ["time", "lat", "lon"],
        "shape": [3, 4, 5],
        "unit": "K",
        "description": "Temperature of the sea",
        "cf:standard_name": "sea_surface_temperature",
        "data_type": "float64",
    }
    dimensions = properties["cube:dimensions"]
    assert {name: (one["type"], one["size"]) for name, one in dimensions.items()} == {
        "time": ("temporal", 3),
        "lat": ("spatial", 4),
        "lon": ("spatial", 5),
    }
    assert pystac.Item.from_dict(entry.feature).to_dict()["assets"] == entry.item.to_dict()["assets"]


def test_items_are_for_their_owner_and_in_the_datasets_own_bucket(
    endpoint: S3Endpoint, written: Callable[..., str]
) -> None:
    entry = record(written("north.zarr", sea()))
    kept_there = json.loads((endpoint.folder / "alice" / ITEMS).read_text())
    assert pystac.ItemCollection.from_dict(kept_there).items[0].id == entry.feature["id"]
    others = [name for name in endpoint.objects() if "north.zarr" not in name]
    assert others == [f"alice/{ITEMS}", f"alice/.catalogue/previews/{entry.feature['id']}.png"]
    assert (endpoint.folder / others[1]).read_bytes().startswith(b"\x89PNG")
    acl = [sent for sent in endpoint.headers if any(name.startswith(("x-amz-acl", "x-amz-grant")) for name in sent)]
    assert acl == []


SEARCHES: dict[str, tuple[dict[str, Any], bool]] = {
    "a word of the title": ({"words": "ATLANTIC"}, True),
    "two words, one of them of a variable": ({"words": "atlantic temperature"}, True),
    "a word that is nowhere": ({"words": "atlantic salinity"}, False),
    "a year": ({"time": "2000"}, True),
    "a month": ({"time": "2000-01"}, True),
    "the day before": ({"time": "1999-12-31"}, False),
    "the last day": ({"time": "2000-01-03"}, True),
    "the day after": ({"time": "2000-01-04"}, False),
    "a span": ({"time": ("1990", "2000-01-01")}, True),
    "a span with an open end": ({"time": ("2000-01-04", None)}, False),
    "an area around": ({"area": (-180, -90, 180, 90)}, True),
    "an area beside": ({"area": (11, 30, 20, 50)}, False),
    "an area below": ({"area": (-30, 0, 10, 29)}, False),
    "an area across 180 degrees": ({"area": (170, 0, -170, 90)}, False),
    "an area across 180 degrees, almost around": ({"area": (5, 0, -170, 90)}, True),
    "a variable": ({"variable": "sst"}, True),
    "a standard name": ({"variable": "sea_surface_temperature"}, True),
    "a part of a variable's name": ({"variable": "ss"}, False),
}


@pytest.mark.parametrize("search_for", SEARCHES)
def test_a_search_finds_what_it_asks_for(written: Callable[..., str], search_for: str) -> None:
    asked, there = SEARCHES[search_for]
    url = written("north.zarr", sea(title="North Atlantic"))
    record(url, preview=False)
    assert found(**asked) == ([url] if there else [])


def test_an_area_across_the_180th_meridian_is_one(written: Callable[..., str]) -> None:
    entry = record(written("pacific.zarr", sea(west=165.0)), preview=False)
    assert entry.feature["bbox"] == [165.0, 30.0, -155.0, 50.0]
    assert found(area=(-180, 0, -170, 90))
    assert found(area=(175, 0, 180, 90))
    assert not found(area=(-150, 0, 160, 90))


@pytest.mark.usefixtures("endpoint")
@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("time", ["2000-1", "yesterday", "2000-13", "2000-01-32", "20000101"])
def test_what_is_no_time_is_refused(time: str) -> None:
    with pytest.raises(DataError, match=f"'{time}' is no time: write a year"):
        found(time=time)


def test_what_is_no_area_is_refused() -> None:
    with pytest.raises(DataError, match="is no area: write"):
        found(area=(0, 50, 10, 30))


def test_of_several_none_is_opened(written: Callable[..., str]) -> None:
    urls = [written(f"{name}.zarr", sea()) for name in ("a", "b")]
    for url in urls:
        record(url, preview=False)
    with pytest.raises(DataError, match=r"2 datasets are found: take one of them .*a\.zarr, s3://alice/b\.zarr"):
        catalogue().search("zarr").open()
    with pytest.raises(DataError, match="no such dataset"):
        catalogue().search("elsewhere").open()
    assert catalogue()[urls[1]].open().sizes == {"time": 3, "lat": 4, "lon": 5}


@pytest.mark.usefixtures("endpoint")
def test_each_kind_is_opened_as_it_was_recorded(store: Callable[..., str]) -> None:
    files = [store(f"{day}.nc", sea(f"2000-01-{day}").rename(sst="t")) for day in ("10", "20")]
    made = {
        "netcdf": files[0],
        "kerchunk": virtualize(files, "s3://alice/all.json"),
        "icechunk": virtualize(files, "s3://alice/all.icechunk", format="icechunk"),
    }
    for kind, url in made.items():
        assert kind_of(record(url, preview=False).feature) == kind
        opened = catalogue()[url].open().load()
        assert opened.sizes["time"] == (3 if kind == "netcdf" else 6)
        assert float(opened.t[-1, -1, -1]) == 59.0
        assert opened.t.dtype == np.float64


def test_recording_again_takes_the_place_and_keeps_what_was_said(written: Callable[..., str]) -> None:
    url = written("north.zarr", sea(title="North Atlantic", summary="Three days"))
    first = record(url, title="My sea", keywords=["ocean"], preview=False)
    written("north.zarr", sea("2010-01-01", title="Another", summary="Other days"))
    second = record(url, preview=False)
    properties = second.feature["properties"]
    assert (second.title, properties["keywords"], properties["description"]) == ("My sea", ["ocean"], "Other days")
    assert properties["created"] == first.feature["properties"]["created"]
    assert properties["start_datetime"] == "2010-01-01T00:00:00Z"
    assert len(catalogue()) == 1
    assert record(url, title="The third", preview=False).title == "The third"


def test_those_who_write_at_once_lose_nothing(endpoint: S3Endpoint) -> None:
    urls = [f"s3://alice/{number}.zarr" for number in range(12)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda url: record(url, dataset=sea(), preview=False), urls))
    assert [one.address for one in catalogue()] == sorted(urls)
    refused = [headers for headers in endpoint.headers if "if-match" in headers]
    assert refused, "nobody wrote over anything: the test would see nothing"


@pytest.mark.parametrize("there", [b"", b"{", b"[]", b'{"features": 1}', b"[" * 100_000])
def test_items_that_cannot_be_read_are_not_overwritten(endpoint: S3Endpoint, there: bytes) -> None:
    (endpoint.folder / "alice/.catalogue").mkdir()
    (endpoint.folder / "alice" / ITEMS).write_bytes(there)
    with pytest.raises(DataError, match=f"s3://alice/{ITEMS}: is no collection of items: delete it"):
        record("s3://alice/a.zarr", dataset=sea(), preview=False)
    assert (endpoint.folder / "alice" / ITEMS).read_bytes() == there
    assert len(catalogue()) == 0


def test_items_of_a_later_version_stay(endpoint: S3Endpoint) -> None:
    record("s3://alice/a.zarr", dataset=sea(), preview=False)
    file = endpoint.folder / "alice" / ITEMS
    told = json.loads(file.read_bytes())
    later = {**told["features"][0], "id": "later", "assets": {"data": {"href": "s3://alice/b.cloud", "type": "new"}}}
    file.write_text(json.dumps({**told, "features": [later]}))
    record("s3://alice/c.zarr", dataset=sea(), preview=False)
    assert later in json.loads(file.read_bytes())["features"]


def test_what_is_forgotten_stays_where_it_is(endpoint: S3Endpoint, written: Callable[..., str]) -> None:
    url = written("north.zarr", sea())
    before = endpoint.objects()
    record(url)
    forget(url)
    assert len(catalogue()) == 0
    assert endpoint.objects() == sorted([*before, f"alice/{ITEMS}"])
    with pytest.raises(DataError, match="is not in the catalogue"):
        forget(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://alice", "names a bucket only"),
        ("s3://alice/data", "does not say what it is"),
        ("s3://alice/a/../b.zarr", "cannot stand in a catalogue"),
        ("s3://alice/line\nbreak.zarr", "cannot stand in a catalogue"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_changes_nothing(endpoint: S3Endpoint, url: str, why: str) -> None:
    with pytest.raises(DataError, match=why):
        record(url, "zarr" if "only" in why else None, sea())
    assert endpoint.objects() == []


@pytest.mark.usefixtures("endpoint")
def test_nobody_records_in_anothers_bucket() -> None:
    with pytest.raises(PermissionError):
        record("s3://bob/a.zarr", dataset=sea(), preview=False)


def test_a_gateway_that_fails_for_a_moment_costs_nothing(endpoint: S3Endpoint) -> None:
    endpoint.refuse = 2
    record("s3://alice/a.zarr", dataset=sea(), preview=False)
    assert len(catalogue()) == 1


def test_others_published_datasets_are_found(endpoint: S3Endpoint) -> None:
    feature = record("s3://alice/a.zarr", dataset=sea(title="Of a colleague"), preview=False).feature
    collected = json.dumps({"features": [feature]}).replace("s3://alice/", "s3://colleague/")
    (endpoint.folder / search.COLLECTED_BUCKET).mkdir()
    kept.write(search.COLLECTED_BUCKET, search.COLLECTED, collected.encode(), "application/geo+json")
    assert [(one.address, one.published) for one in catalogue().search("colleague")] == [
        ("s3://alice/a.zarr", False),
        ("s3://colleague/a.zarr", True),
    ]


def test_the_researchers_page_holds_the_pictures_and_nothing_that_is_none(
    endpoint: S3Endpoint, written: Callable[..., str]
) -> None:
    entry = record(written("north.zarr", sea()))
    assert own_page().count("data:image/png;base64,iVBOR") == 1
    picture = endpoint.folder / entry.feature["assets"]["thumbnail"]["href"].removeprefix("s3://")
    for other in (b"<svg onload='alert(1)'/>", picture.read_bytes() + bytes(PREVIEW_BYTES)):
        picture.write_bytes(other)
        assert "<img" not in own_page()


def test_what_is_too_large_is_not_fetched(endpoint: S3Endpoint) -> None:
    """Others put their pictures where everybody's page reads them."""
    kept.write("alice", "a", bytes(8 * 2**20), "image/png")
    endpoint.cut = 1  # whoever wants the body asks again for the rest of it
    assert kept.read("alice", "a", 100) is None
    assert endpoint.asked() == ["alice/a"]
    assert kept.read("alice", "a", 8 * 2**20) == bytes(8 * 2**20)


TIMES = {
    "360_day": ("2000-02-30", "2000-02-29T00:00:00Z"),
    "noleap": ("1999-02-28", "1999-02-28T00:00:00Z"),
    "julian": ("0045-03-15", "0045-03-15T00:00:00Z"),
}


@pytest.mark.parametrize("calendar", TIMES)
def test_days_of_other_calendars_are_told_in_this_one(calendar: str) -> None:
    day, told = TIMES[calendar]
    dataset = sea().assign_coords(time=xr.date_range(day, periods=3, calendar=calendar, use_cftime=True))
    assert item_of(dataset, "s3://alice/a.zarr", "zarr").properties["start_datetime"] == told


def test_a_dataset_without_times_and_area_is_found_by_neither(written: Callable[..., str]) -> None:
    url = written("plain.zarr", xr.Dataset({"a": ("x", [1.0, 2.0, 3.0])}))
    entry = record(url)
    assert found() == [url]
    assert not is_found(entry.feature, [], ("0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"), None, None)
    assert not is_found(entry.feature, [], None, [-180.0, -90.0, 180.0, 90.0], None)
