"""Datasets published and taken back: everybody reads these objects, and no others."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import fsspec
import numpy as np
import plain_xarray  # noqa: F401  # as the interpreter of an environment does
import pytest
import xarray as xr
from s3_endpoint import S3Endpoint

from appliance.data import DataError, catalogue, forget, publish, record, virtualize, withdraw
from appliance.data.cataloguing import kept, publishing
from appliance.data.cataloguing.believed import ITEMS, PUBLISHED

SAID = {"licence": "CC-BY-4.0", "citation": "Alice, 2026: Her sea."}
URL = "s3://alice/north.zarr"
OWN = {
    "Sid": "mine",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam:::user/bob"},
    "Action": "s3:*",
    "Resource": "x",
}


@pytest.fixture(autouse=True)
def north(endpoint: S3Endpoint) -> str:
    """A dataset in the catalogue of the bucket alice, beside others that are nobody's business."""
    endpoint.guarded = True
    for name in ("north.zarr", "north.zarr-2", "secret.zarr"):
        dataset = xr.Dataset({"a": (("y", "x"), np.ones((2, 3)))})
        dataset.to_zarr(f"s3://alice/{name}", mode="w", consolidated=True, zarr_format=2)
        record(f"s3://alice/{name}", "zarr")
    return URL


def read_by_everybody(endpoint: S3Endpoint) -> set[str]:
    """What is answered to somebody without keys, of all that there is."""
    place = urlsplit(endpoint.url("127.0.0.1"))
    found = set()
    for name in [*endpoint.objects(), "alice/", "alice"]:
        connection = http.client.HTTPConnection(place.netloc, timeout=30)
        connection.request("GET", f"/{quote(name)}")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 403:
            found.add(name)
        connection.close()
    return found


def test_everybody_reads_what_is_published_and_nothing_else(endpoint: S3Endpoint) -> None:
    assert read_by_everybody(endpoint) == set()
    entry = publish(URL, **SAID)
    preview = entry.feature["assets"]["thumbnail"]["href"].removeprefix("s3://")
    data = {name for name in endpoint.objects() if name.startswith("alice/north.zarr/")}
    assert read_by_everybody(endpoint) == {*data, preview, f"alice/{PUBLISHED}"}
    assert [one.address for one in catalogue() if one.published] == [URL]
    listed = json.loads((endpoint.folder / "alice" / PUBLISHED).read_bytes())["features"]
    assert [(one["properties"]["license"], one["properties"]["sci:citation"]) for one in listed] == [
        tuple(SAID.values())
    ]


def test_what_is_withdrawn_nobody_reads(endpoint: S3Endpoint) -> None:
    publish(URL, **SAID)
    withdraw(URL)
    assert read_by_everybody(endpoint) == set()
    assert endpoint.policies == {}
    assert not any(one.published for one in catalogue())
    withdraw(URL)
    assert publish(URL, **SAID).published


def test_one_of_two_is_withdrawn(endpoint: S3Endpoint) -> None:
    for url in (URL, "s3://alice/secret.zarr"):
        publish(url, **SAID)
    withdraw("s3://alice/secret.zarr")
    data = {name for name in read_by_everybody(endpoint) if ".catalogue" not in name}
    assert {name.split("/")[1] for name in data} == {"north.zarr"}


def test_the_policys_other_statements_stay(endpoint: S3Endpoint) -> None:
    endpoint.policies["alice"] = json.dumps({"Version": "2012-10-17", "Id": "hers", "Statement": OWN})
    publish(URL, **SAID)
    there = json.loads(endpoint.policies["alice"])
    assert (there["Id"], there["Statement"][0], len(there["Statement"])) == ("hers", OWN, 2)
    withdraw(URL)
    assert json.loads(endpoint.policies["alice"])["Statement"] == [OWN]


def test_a_dataset_in_place_is_published_with_its_files(endpoint: S3Endpoint, store: Callable[..., str]) -> None:
    times = np.datetime64("2000-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    values = np.arange(30_000.0).reshape(3, 10_000)
    file = store("files/a.nc", xr.Dataset({"a": (("t", "x"), values)}, coords={"t": times}))
    store("files/b.nc", xr.Dataset({"a": (("t", "x"), values)}, coords={"t": times}))
    made = virtualize(file, "s3://alice/all.json")
    record(made)
    publish(made, **SAID)
    data = {name for name in read_by_everybody(endpoint) if ".catalogue" not in name}
    assert data == {"alice/all.json", "alice/files/a.nc"}
    record(made)
    assert {name for name in read_by_everybody(endpoint) if ".catalogue" not in name} == data
    withdraw(made)
    assert read_by_everybody(endpoint) == set()


def test_a_folder_of_files_is_published(endpoint: S3Endpoint) -> None:
    kept.write("alice", "raw/2000/a.csv", b"1", "text/csv")
    kept.write("alice", "rawer/b.csv", b"1", "text/csv")
    record("s3://alice/raw", "files", title="Raw")
    publish("s3://alice/raw", **SAID)
    assert {name for name in read_by_everybody(endpoint) if ".catalogue" not in name} == {"alice/raw/2000/a.csv"}
    with pytest.raises(DataError, match="is a folder of files: open one of them"):
        catalogue()["s3://alice/raw"].open()


REFUSED: dict[str, tuple[str, dict[str, str], str]] = {
    "what is not in the catalogue": ("s3://alice/other.zarr", SAID, "appliance data record s3://alice/other.zarr"),
    "a whole bucket": ("s3://alice", SAID, "is no dataset"),
    "the catalogue's own": ("s3://alice/.catalogue", SAID, "is no dataset"),
    "a name that means others": ("s3://alice/*", SAID, "more than it would be published"),
    "no licence": (URL, {**SAID, "licence": ""}, "licence '' is none"),
    "a licence that is none": (URL, {**SAID, "licence": "<b>"}, "write an identifier of SPDX"),
    "no citation": (URL, {**SAID, "citation": " "}, "the citation is empty"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_changes_nothing(endpoint: S3Endpoint, what: str) -> None:
    url, said, why = REFUSED[what]
    before = {name: (endpoint.folder / name).read_bytes() for name in endpoint.objects()}
    with pytest.raises(DataError, match=why):
        publish(url, **said)
    assert {name: (endpoint.folder / name).read_bytes() for name in endpoint.objects()} == before
    assert endpoint.policies == {}


def test_a_dataset_that_the_owners_policy_forbids_is_not_published(endpoint: S3Endpoint) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::alice/*"}
    endpoint.policies["alice"] = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    with pytest.raises(DataError, match="everybody is still refused"):
        publish(URL, **SAID)
    assert json.loads(endpoint.policies["alice"])["Statement"] == [deny]
    assert not any(one.published for one in catalogue())


def test_withdrawing_says_what_else_lets_everybody_read(endpoint: S3Endpoint) -> None:
    publish(URL, **SAID)
    endpoint.public |= {name for name in endpoint.objects() if name.startswith("alice/north.zarr/")}
    with pytest.raises(DataError, match=r"may still be read by everybody: .* an ACL"):
        withdraw(URL)
    assert not any(one.published for one in catalogue())


@pytest.mark.parametrize("end", ["publish", "withdraw"])
def test_a_policy_of_a_moment_ago_that_another_process_writes_is_made_good(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    publish("s3://alice/north.zarr-2", **SAID)
    if end == "withdraw":
        publish(URL, **SAID)
    late, real = [dict(endpoint.policies)], publishing._is_read

    def looked(bucket: str, key: str) -> bool:
        if late:
            endpoint.policies.update(late.pop())
        return real(bucket, key)

    monkeypatch.setattr(publishing, "_is_read", looked)
    if end == "publish":
        assert publish(URL, **SAID).published
    else:
        withdraw(URL)
    names = {name for name in read_by_everybody(endpoint) if name.startswith("alice/north.zarr/")}
    assert bool(names) == (end == "publish")


def test_a_gateway_that_has_not_heard_of_it_is_told(endpoint: S3Endpoint) -> None:
    publish(URL, **SAID)
    endpoint.behind = dict(endpoint.policies)
    with pytest.raises(DataError, match="in case a gateway has not heard of it yet"):
        withdraw(URL)
    endpoint.behind = None
    withdraw(URL)


def test_the_files_of_a_dataset_in_place_are_looked_at_too(endpoint: S3Endpoint) -> None:
    references = {".zgroup": '{"zarr_format": 2}', "a/0": ["s3://alice/raw/a.nc", 0, 8]}
    kept.write("alice", "all.json", json.dumps({"version": 1, "refs": references}).encode(), "application/json")
    kept.write("alice", "raw/a.nc", b"1", "application/x-netcdf")
    record("s3://alice/all.json", dataset=xr.Dataset())
    publish("s3://alice/all.json", **SAID)
    endpoint.public.add("alice/raw/a.nc")
    with pytest.raises(DataError, match=r"s3://alice/raw/a\.nc may still be read by everybody"):
        withdraw("s3://alice/all.json")


def test_what_is_part_of_a_published_folder_is_not_said_to_be_closed() -> None:
    kept.write("alice", "raw/a.nc", b"1", "application/x-netcdf")
    record("s3://alice/raw", "files")
    record("s3://alice/raw/a.nc", dataset=xr.Dataset())
    for url in ("s3://alice/raw", "s3://alice/raw/a.nc"):
        publish(url, **SAID)
    with pytest.raises(DataError, match="as a part of s3://alice/raw, which is published"):
        withdraw("s3://alice/raw/a.nc")
    withdraw("s3://alice/raw")
    withdraw("s3://alice/raw/a.nc")


def test_what_was_deleted_can_be_withdrawn(endpoint: S3Endpoint) -> None:
    publish(URL, **SAID)
    fsspec.filesystem("s3").rm(URL, recursive=True)
    withdraw(URL)
    assert endpoint.policies == {}


@pytest.mark.parametrize("end", [withdraw, forget])
def test_a_name_that_is_nowhere_is_said_to_be_nowhere_and_changes_nothing(
    endpoint: S3Endpoint, end: Callable[[str], None]
) -> None:
    (endpoint.folder / "alice" / ITEMS).unlink()
    before = endpoint.objects()
    with pytest.raises(DataError, match=r"s3://alice/nowhere\.zarr: is (neither published nor|not) in the catalogue"):
        end("s3://alice/nowhere.zarr")
    assert endpoint.objects() == before
    with pytest.raises(PermissionError):
        end("s3://bob/nowhere.zarr")


def test_an_icechunk_repository_is_not_published(endpoint: S3Endpoint, store: Callable[..., str]) -> None:
    """Others could not open it: its configuration need not be there, and is refused to them."""
    times = np.datetime64("2000-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    file = store("files/a.nc", xr.Dataset({"a": (("t", "x"), np.ones((3, 10)))}, coords={"t": times}))
    made = virtualize(file, "s3://alice/all.icechunk", format="icechunk")
    with pytest.raises(DataError, match="is an Icechunk repository, which nobody can open"):
        publish(made, **SAID)
    assert endpoint.policies == {}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_nobody_else_could_open_is_not_published(endpoint: S3Endpoint, zarr_format: Any) -> None:
    url = "s3://alice/plain.zarr"
    dataset = xr.Dataset({"a": (("y", "x"), np.ones((2, 3)))})
    dataset.to_zarr(url, mode="w", consolidated=False, zarr_format=zarr_format)
    record(url)
    with pytest.raises(DataError, match="has no consolidated metadata"):
        publish(url, **SAID)
    assert endpoint.policies == {}
    dataset.to_zarr(url, mode="w", consolidated=True, zarr_format=zarr_format)
    assert publish(url, **SAID).published


def test_references_to_anothers_files_are_not_published(endpoint: S3Endpoint) -> None:
    references = {".zgroup": '{"zarr_format": 2}', "a/0": ["s3://carol/secret.nc", 0, 8]}
    kept.write("alice", "all.json", json.dumps({"version": 1, "refs": references}).encode(), "application/json")
    record("s3://alice/all.json", dataset=xr.Dataset())
    with pytest.raises(DataError, match=r"refers to s3://carol/secret\.nc, which is in another bucket"):
        publish("s3://alice/all.json", **SAID)
    assert endpoint.policies == {}


def test_more_files_than_a_policy_names_are_refused(endpoint: S3Endpoint) -> None:
    references = {f"a/{n}": [f"s3://alice/raw/{n:0100}.nc", 0, 8] for n in range(300)}
    kept.write("alice", "all.json", json.dumps({"version": 1, "refs": references}).encode(), "application/json")
    record("s3://alice/all.json", dataset=xr.Dataset())
    with pytest.raises(DataError, match="more files than a policy can name: publish their folder first"):
        publish("s3://alice/all.json", **SAID)
    kept.write("alice", f"raw/{0:0100}.nc", b"1", "application/x-netcdf")
    record("s3://alice/raw", "files")
    publish("s3://alice/raw", **SAID)
    publish("s3://alice/all.json", **SAID)
    assert len(endpoint.policies["alice"]) < publishing.POLICY_BYTES


def test_a_list_that_was_written_by_hand_opens_nothing_else(endpoint: S3Endpoint) -> None:
    """By a mistake of the owner's: nobody else can write it."""
    publish(URL, **SAID)
    file = endpoint.folder / "alice" / PUBLISHED
    told: dict[str, Any] = json.loads(file.read_bytes())
    (one,) = told["features"]
    forged = json.loads(json.dumps(one).replace("s3://alice/north.zarr", "s3://alice/*"))
    forged["properties"]["appliance:files"] = ["*", "../carol/a", "secret.zarr/?zmetadata"]
    file.write_text(json.dumps({"features": [one, forged]}))
    withdraw("s3://alice/secret.zarr")
    assert not [name for name in read_by_everybody(endpoint) if "secret" in name or "items.json" in name]


def test_those_who_publish_and_withdraw_at_once_leave_what_the_list_says(endpoint: S3Endpoint) -> None:
    urls = [URL, "s3://alice/north.zarr-2", "s3://alice/secret.zarr"]
    publish(urls[2], **SAID)
    start = threading.Barrier(3)

    def work(number: int) -> None:
        start.wait()
        if number == 2:
            withdraw(urls[2])
        else:
            publish(urls[number], **SAID)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    assert {one.address for one in catalogue() if one.published} == set(urls[:2])
    data = {name.split("/")[1] for name in read_by_everybody(endpoint) if ".catalogue" not in name}
    assert data == {"north.zarr", "north.zarr-2"}


def test_what_is_published_is_not_forgotten_before_it_is_withdrawn() -> None:
    publish(URL, **SAID)
    with pytest.raises(DataError, match=f"`appliance data withdraw {URL}` first"):
        forget(URL)
    withdraw(URL)
    forget(URL)
