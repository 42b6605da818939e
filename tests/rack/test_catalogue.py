"""A dataset recorded, published, read by somebody outside over HTTPS, and withdrawn within a minute on all gateways."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from machines import FACILITY, STORES, ask, until
from placement_rack import FACTS
from researcher import Notebook, Researcher

from appliance.data.cataloguing.search import COLLECTED_BUCKET

FRONT = FACILITY.front
NAME = str(FACTS["catalogue_public_name"])
URL, OTHER = "s3://alice/catalogue-test.zarr", "s3://alice/catalogue-test-2.zarr"
GATEWAY = f"http://127.0.0.1:{FACTS['ceph_rgw_port']}"
MADE = f"""
    import fsspec, numpy as np, xarray as xr
    from appliance.data import catalogue, forget, publish, record, withdraw

    dataset = xr.Dataset(
        {{"sst": (("time", "lat", "lon"), np.arange(24.0).reshape(2, 3, 4))}},
        coords={{
            "time": np.array(["2000-01-01", "2000-01-02"], "datetime64[ns]"),
            "lat": ("lat", [10.0, 20.0, 30.0], {{"units": "degrees_north"}}),
            "lon": ("lon", [0.0, 10.0, 20.0, 30.0], {{"units": "degrees_east"}}),
        }},
    )
    for url in ("{URL}", "{OTHER}"):
        dataset.to_zarr(url, mode="w", zarr_format=2, consolidated=True)
        record(url, title="Catalogue test")
    say()
"""
PUBLISH = f'publish("{URL}", licence="CC-BY-4.0", citation="Alice, 2026"); say()'
WITHDRAW = f'withdraw("{URL}"); say()'
GONE = f"""
    for url in ("{URL}", "{OTHER}"):
        withdraw(url)
        forget(url)
        fsspec.filesystem("s3").rm(url, recursive=True)
    say()
"""


@pytest.fixture(scope="module")
def hers() -> Iterator[Notebook]:
    with Researcher(FACILITY, "alice") as alice, alice.notebook() as notebook:
        notebook.run(MADE)
        yield notebook
        notebook.run(GONE)


def asked(path: str) -> tuple[int, bytes]:
    """What somebody outside is answered at the public name."""
    connection = FRONT.connection(f"{NAME}:{FACTS['jupyterhub_public_port']}", timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told


def status_at(store: str, path: str) -> str:
    """What a gateway by itself answers somebody without keys."""
    return ask(store, f"curl --silent --output /dev/null --write-out '%{{http_code}}' --noproxy '*' {GATEWAY}{path}")


def test_a_recorded_dataset_is_opened_in_one_line(hers: Notebook) -> None:
    line = f'say(total=float(catalogue().search("catalogue test", time="2000")["{URL}"].open().sst.sum()))'
    assert hers.run(line)["total"] == sum(range(24))


def test_what_is_published_is_everybodys_and_within_a_minute_nobodys(hers: Notebook) -> None:
    path = "/alice/catalogue-test.zarr/.zmetadata"
    assert {status_at(store, path) for store in STORES} == {"403"}
    hers.run(PUBLISH)
    until(lambda: {status_at(store, path) for store in STORES} == {"200"})
    status, body = asked(path)
    assert (status, "metadata" in json.loads(body)) == (200, True)
    assert asked("/alice/catalogue-test.zarr/zarr.json")[0] == 404, "Zarr looks for it, and goes on"
    assert asked(path.replace("test.zarr", "test-2.zarr"))[0] == 404
    until(lambda: b"alice/catalogue-test.zarr" in asked("/")[1])
    assert b"catalogue-test-2" not in asked("/")[1]
    collection = json.loads(asked(f"/{COLLECTED_BUCKET}/stac/alice/collection.json")[1])
    items = [link["href"] for link in collection["links"] if link["rel"] == "item"]
    assert any("catalogue-test-zarr" in one for one in items)
    began = time.monotonic()
    hers.run(WITHDRAW)
    until(lambda: {status_at(store, path) for store in STORES} == {"403"})
    assert time.monotonic() - began < 60
    assert asked(path)[0] == 404
    assert asked("/alice/catalogue-test.zarr/sst/0.0.0")[0] == 403
    until(lambda: b"alice/catalogue-test.zarr" not in asked("/")[1])


@pytest.mark.long
def test_another_researcher_finds_what_is_published_with_its_owner(hers: Notebook) -> None:
    find = f"""
        from appliance.data import catalogue
        found = [one for one in catalogue() if one.address.startswith("{URL.removesuffix(".zarr")}")]
        say(found=[[one.address, one.feature["properties"]["appliance:owner"]] for one in found])
    """
    with Researcher(FACILITY, "bob") as bob, bob.notebook() as his:
        assert his.run(find)["found"] == []
        hers.run(PUBLISH)
        until(lambda: his.run(find)["found"] == [[URL, "alice"]])
        assert his.run(f'say(total=float(catalogue()["{URL}"].open().sst.sum()))')["total"] == sum(range(24))
        hers.run(WITHDRAW)
        until(lambda: his.run(find)["found"] == [])


def test_two_who_write_at_once_are_told_by_the_gateways(hers: Notebook) -> None:
    """What the catalogue's lists rest on: If-Match and If-None-Match of PUT."""
    cell = """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as threads:
            urls = [f"s3://alice/at-once-{number}.zarr" for number in range(16)]
            list(threads.map(lambda url: record(url, dataset=dataset, preview=False), urls))
        there = sorted(one.address for one in catalogue() if "at-once" in one.address)
        for url in urls:
            forget(url)
        say(lost=sorted(set(urls) - set(there)))
    """
    assert hers.run(cell)["lost"] == []
