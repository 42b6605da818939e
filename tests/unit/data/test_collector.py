"""What the facility collects: what everybody may read of all buckets, and whose it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pystac
import pytest
from catalogue_items import item, with_value
from s3_endpoint import S3Endpoint

from appliance.data import catalogue
from appliance.data.cataloguing import believed, collector
from appliance.data.cataloguing.collector import CollectorError, Gateway, collect
from appliance.data.cataloguing.search import COLLECTED, COLLECTED_BUCKET
from appliance.data.cataloguing.static import ROOT
from appliance.placement.auth.sigv4 import Keys

Publish = Callable[..., None]


@pytest.fixture
def gateway(endpoint: S3Endpoint) -> Gateway:
    endpoint.guarded = True
    return Gateway(urlsplit(endpoint.url("127.0.0.1")).netloc, Keys("key", "secret"))


@pytest.fixture
def published(endpoint: S3Endpoint) -> Publish:
    """``published(bucket, document, opened)`` puts a bucket's list there, and opens it to everybody."""

    def put(bucket: str, document: bytes | None = None, opened: bool = True) -> None:
        file = endpoint.folder / bucket / believed.PUBLISHED
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(believed.document([item(f"s3://{bucket}/a.zarr")]) if document is None else document)
        if opened:
            endpoint.public.add(f"{bucket}/{believed.PUBLISHED}")

    return put


def owners(gateway: Gateway) -> dict[str, str]:
    return {believed.address_of(one): one["properties"][believed.OWNER] for one in collect(gateway)}


def test_what_is_published_is_collected_with_the_owner_that_the_gateway_knows(
    endpoint: S3Endpoint, gateway: Gateway, published: Publish
) -> None:
    for bucket in ("alice", "alice-climate", "carol"):
        published(bucket)
    endpoint.owners |= {"alice-climate": "alice", "carol": "mallory"}  # who took the name before carol came
    assert owners(gateway) == {
        "s3://alice/a.zarr": "alice",
        "s3://alice-climate/a.zarr": "alice",
        "s3://carol/a.zarr": "mallory",
    }


def test_what_is_not_everybodys_is_not_collected(gateway: Gateway, published: Publish) -> None:
    published("alice")
    published("carol", opened=False)
    assert list(owners(gateway)) == ["s3://alice/a.zarr"]


def test_nobody_lists_anothers_data(gateway: Gateway, published: Publish) -> None:
    forged = [item("s3://alice/a.zarr", title="Not hers"), item("s3://mallory/b.zarr")]
    published("mallory", json.dumps({"features": forged}).encode())
    published("alice")
    found = {believed.address_of(one): one["properties"]["title"] for one in collect(gateway)}
    assert found == {"s3://alice/a.zarr": "North Atlantic", "s3://mallory/b.zarr": "North Atlantic"}


def test_nobodys_lists_keep_others_out(
    endpoint: S3Endpoint, gateway: Gateway, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    published("mallory-1", b" " * (collector.OWNER_BYTES + 1))
    published("mallory-2", believed.document([item("s3://mallory-2/a.zarr")]) + b" " * (collector.OWNER_BYTES - 2000))
    published("mallory-3", b'{"features": [' + b" " * 4000)
    published("mallory-4", believed.document([item("s3://mallory-4/a.zarr")]))
    endpoint.owners |= {f"mallory-{number}": "mallory" for number in range(5)}
    published("zoe")
    assert list(owners(gateway)) == ["s3://mallory-2/a.zarr", "s3://zoe/a.zarr"]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("mallory: publishes more than 1000 datasets")
    assert "s3://mallory-3, s3://mallory-4" in said


def test_many_short_items_of_one_owner_keep_no_others_out(
    gateway: Gateway, published: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each becomes one that is many times as long, of the collector's memory and of everybody's page."""
    asset = {"data": {"href": "s3://mallory/{}", "type": believed.KINDS["zarr"]}}
    short = [
        json.dumps({"id": "a", "assets": asset}).replace("{}", str(number))
        for number in range(collector.OWNER_ITEMS + 1)
    ]
    published("mallory", f'{{"features": [{",".join(short)}]}}'.encode())
    published("zoe")
    found = owners(gateway)
    assert len(found) == collector.OWNER_ITEMS + 1
    assert found["s3://zoe/a.zarr"] == "zoe"
    assert "not all of s3://mallory is listed" in capsys.readouterr().err


def test_what_is_made_of_one_owners_items_is_bounded(gateway: Gateway, published: Publish) -> None:
    # Written in two bytes, each of these letters takes six in what is made.
    item_of = '{{"id":"a","assets":{{"data":{{"href":"s3://mallory/{}","type":"{}"}}}},"properties":{{"title":"{}"}}}}'
    letters = "\u00e4" * believed.TEXT_MAX
    listed = ",".join(item_of.format(number, believed.KINDS["zarr"], letters) for number in range(200))
    published("mallory", f'{{"features":[{listed}]}}'.encode())
    made = collect(gateway)
    assert 0 < len(believed.document(made)) <= collector.OWNER_BYTES
    assert len(made) < 200


def test_buckets_whose_names_no_item_can_have_are_not_asked_for(
    endpoint: S3Endpoint, gateway: Gateway, published: Publish
) -> None:
    published("tenant%2Fhers", b"{}")
    published("a b", b"{}")
    published("zoe")
    endpoint.log.clear()
    assert list(owners(gateway)) == ["s3://zoe/a.zarr"]
    assert not [path for _, _, path, _ in endpoint.log if path.startswith(("/tenant", "/a b"))]


def test_a_gateway_that_does_not_say_ends_it(endpoint: S3Endpoint, gateway: Gateway) -> None:
    endpoint.refuse = 1
    with pytest.raises(CollectorError, match="503"):
        collect(gateway)


def run(endpoint: S3Endpoint, credentials: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    words = ["--endpoint", endpoint.url("127.0.0.1"), "--credentials", str(credentials), "--bucket", COLLECTED_BUCKET]
    monkeypatch.setattr("sys.argv", ["collector", *words, *more])
    assert collector.main() == 0


def test_what_was_collected_is_in_the_catalogue_of_all_and_on_the_page(
    endpoint: S3Endpoint, gateway: Gateway, published: Publish, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway
    (endpoint.folder / COLLECTED_BUCKET).mkdir()
    published("carol")
    url = "https://data.example.org"
    run(endpoint, credentials, monkeypatch, "--public-url", url)
    (entry,) = catalogue()
    assert (entry.address, entry.published) == ("s3://carol/a.zarr", True)
    assert entry.feature["properties"][believed.OWNER] == "carol"
    page = (endpoint.folder / COLLECTED_BUCKET / "index.html").read_text()
    assert "<dd>carol</dd>" in page
    assert f"{url}/carol/a.zarr" in page
    assert f"{url}/{COLLECTED_BUCKET}/{ROOT}" in page
    sent = [told for told in endpoint.headers if "x-amz-acl" in told]
    assert [(told["x-amz-acl"], told["cache-control"]) for told in sent] == [("public-read", "no-store")] * 5
    run(endpoint, credentials, monkeypatch, "--public-url", url)
    assert len([told for told in endpoint.headers if "x-amz-acl" in told]) == 5, "nothing has changed"
    endpoint.public.clear()
    run(endpoint, credentials, monkeypatch, "--public-url", url)
    assert json.loads((endpoint.folder / COLLECTED_BUCKET / COLLECTED).read_bytes())["features"] == []


def walked(endpoint: S3Endpoint) -> dict[str, pystac.Item]:
    root = pystac.Catalog.from_file(str(endpoint.folder / COLLECTED_BUCKET / ROOT))
    return {one.assets["data"].href: one for one in root.get_items(recursive=True)}


def test_what_was_collected_is_walked_as_a_static_catalog(
    endpoint: S3Endpoint, gateway: Gateway, published: Publish, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway
    (endpoint.folder / COLLECTED_BUCKET).mkdir()
    across = with_value(item("s3://carol/south.zarr"), ("bbox",), [170.0, -20.0, -170.0, 0.0])
    published("carol", believed.document([item("s3://carol/a b.zarr", license="CC-BY-4.0"), across]))
    published("zoe")
    url = "https://data.example.org"
    run(endpoint, credentials, monkeypatch, "--public-url", url)
    found = walked(endpoint)
    assert list(found) == [f"{url}/carol/a%20b.zarr", f"{url}/carol/south.zarr", f"{url}/zoe/a.zarr"]
    collection = found[f"{url}/carol/south.zarr"].get_collection()
    assert collection is not None
    assert (collection.id, collection.license) == ("carol", "other")
    assert collection.extent.spatial.bboxes == [[-180.0, -20.0, 180.0, 50.0]]
    (interval,) = collection.extent.temporal.intervals
    assert [moment and moment.isoformat() for moment in interval] == [
        "2000-01-01T00:00:00+00:00",
        "2000-01-03T00:00:00+00:00",
    ]
    endpoint.public.remove(f"carol/{believed.PUBLISHED}")
    run(endpoint, credentials, monkeypatch, "--public-url", url)
    assert list(walked(endpoint)) == [f"{url}/zoe/a.zarr"]
    assert not [name for name in endpoint.objects() if name.startswith(f"{COLLECTED_BUCKET}/") and "carol" in name]


def test_without_a_public_name_nothing_is_left_for_it(
    endpoint: S3Endpoint, gateway: Gateway, published: Publish, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway
    (endpoint.folder / COLLECTED_BUCKET).mkdir()
    published("carol")
    run(endpoint, credentials, monkeypatch, "--public-url", "https://data.example.org")
    run(endpoint, credentials, monkeypatch)
    there = [name for name in endpoint.objects() if name.startswith(f"{COLLECTED_BUCKET}/")]
    assert there == [f"{COLLECTED_BUCKET}/{COLLECTED}"]
