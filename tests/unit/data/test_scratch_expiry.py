"""What the facility's job removes of scratch: whole datasets, metadata first, and of nobody else's buckets anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import xarray as xr
from s3_endpoint import S3Endpoint

from appliance.data.facility_client import facility_client
from appliance.data.scratch_buckets import expiry
from appliance.data.scratch_buckets.expiry import Expiry, ExpiryError
from appliance.data.scratch_buckets.rule import DAY, NOTICES, OWN_BUCKET, Notice
from appliance.placement.auth.sigv4 import Keys

NOW = 1_800_000_000.0
DAYS = 30


@pytest.fixture
def client(endpoint: S3Endpoint) -> Iterator[Any]:
    for bucket in ("alice-scratch", OWN_BUCKET):
        (endpoint.folder / bucket).mkdir()
    made = facility_client(endpoint.url("127.0.0.1"), Keys("key", "secret"))
    yield made
    made.close()


def put(endpoint: S3Endpoint, name: str, age: float, bucket: str = "alice-scratch") -> None:
    file = endpoint.folder / bucket / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"12345")
    os.utime(file, (NOW - age * DAY,) * 2)


def look(client: Any, later: float = 0.0, bucket: str = "alice-scratch") -> list[str]:
    """A look some days later than ``NOW``; returns what went."""
    gone = Expiry(client, OWN_BUCKET, DAYS, NOW + later * DAY).bucket(bucket, bucket.removesuffix("-scratch"))
    return [one.name for one in gone]


def looks(client: Any, until: int, since: int = 0) -> list[str]:
    return [name for day in range(since, until + 1, 2) for name in look(client, day)]


def there(endpoint: S3Endpoint, bucket: str = "alice-scratch") -> list[str]:
    return [name.partition("/")[2] for name in endpoint.objects() if name.startswith(f"{bucket}/")]


def test_what_is_due_goes_whole_and_what_is_written_to_stays_whole(endpoint: S3Endpoint, client: Any) -> None:
    for name in ("old.zarr/zarr.json", "old.zarr/t/zarr.json", "old.zarr/t/c/0", "old.zarr/t/c/1", "old.nc"):
        put(endpoint, name, 29)
    put(endpoint, "used.zarr/zarr.json", 90)
    put(endpoint, "used.zarr/t/c/0", 90)
    put(endpoint, "used.zarr/t/c/1", 1)
    put(endpoint, "old.nc.txt", 1)
    assert looks(client, 8) == ["old.nc", "old.zarr/"]
    assert there(endpoint) == ["old.nc.txt", "used.zarr/t/c/0", "used.zarr/t/c/1", "used.zarr/zarr.json"]


def test_nothing_goes_in_the_first_look_however_old_it_is(endpoint: S3Endpoint, client: Any) -> None:
    put(endpoint, "a", 1000)
    assert looks(client, 6) == []
    assert look(client, 7) == ["a"]


def test_metadata_is_gone_before_the_first_chunk(
    endpoint: S3Endpoint, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "PAGE", 4)
    names = [f"a.zarr/t/c/{number}" for number in range(6)]
    names += ["a.zarr/zarr.json", "a.zarr/t/zarr.json", "a.zarr/old/.zarray", "a.zarr/old/0.0", "a.zarr/.zmetadata"]
    for name in names:
        put(endpoint, name, 1000)
    asked: list[list[str]] = []
    right = client.delete_objects

    def noted(**words: Any) -> Any:
        asked.append([one["Key"] for one in words["Delete"]["Objects"]])
        return right(**words)

    client.delete_objects = noted
    look(client)
    looks(client, 8, since=2)
    assert asked[0] == ["a.zarr/.zmetadata", "a.zarr/zarr.json", "a.zarr/old/.zarray", "a.zarr/t/zarr.json"]
    assert [len(keys) for keys in asked[1:]] == [4, 3]
    assert there(endpoint) == []


def test_where_metadata_cannot_be_removed_no_chunk_is(endpoint: S3Endpoint, client: Any) -> None:
    put(endpoint, "a.zarr/zarr.json", 1000)
    put(endpoint, "a.zarr/t/c/0", 1000)
    put(endpoint, "b", 1000)
    looks(client, 6)
    right = client.delete_objects

    def refused(**words: Any) -> Any:
        if "a.zarr/zarr.json" in str(words):
            return {"Errors": [{"Key": "a.zarr/zarr.json", "Code": "AccessDenied"}]}
        return right(**words)

    client.delete_objects = refused
    with pytest.raises(ExpiryError, match=r"a.zarr/: 1 objects stay: a.zarr/zarr.json: AccessDenied"):
        look(client, 8)
    assert there(endpoint) == ["a.zarr/t/c/0", "a.zarr/zarr.json"], "and what comes behind goes all the same"


@pytest.mark.parametrize("rewritten", ["a.zarr/zarr.json", "a.zarr/t/c/0", "a.zarr/t/c/9"])
@pytest.mark.parametrize("when", [0, 1])
def test_what_is_written_while_a_dataset_is_removed_stays(
    endpoint: S3Endpoint, client: Any, rewritten: str, when: int
) -> None:
    """Before its first list, or between the removal of the metadata and that of the chunks."""
    for name in ("a.zarr/zarr.json", "a.zarr/t/c/0", "a.zarr/t/c/1"):
        put(endpoint, name, 1000)
    looks(client, 6)
    right, turns = client.get_paginator, []

    def paginator(name: str) -> Any:
        turns.append(name)
        if len(turns) == 2 + when:  # after the list of the whole bucket
            put(endpoint, rewritten, 0)
        return right(name)

    client.get_paginator = paginator
    assert look(client, 8) == []
    assert rewritten in there(endpoint)
    assert "a.zarr/t/c/1" in there(endpoint)
    assert ("a.zarr/zarr.json" in there(endpoint)) == (when == 0 or rewritten == "a.zarr/zarr.json")


def test_the_owner_alone_is_told(endpoint: S3Endpoint, client: Any) -> None:
    put(endpoint, "a.zarr/t/c/0", 25)
    put(endpoint, "new", 0)
    look(client)
    notice = Notice.read((endpoint.folder / OWN_BUCKET / NOTICES / "alice-scratch.json").read_bytes())
    assert (notice.days, notice.looked) == (DAYS, NOW)
    assert [(one.name, one.nbytes, one.told) for one in notice.things] == [("a.zarr/", 5, NOW), ("new", 5, None)]
    (sent,) = [told for told in endpoint.headers if "x-amz-grant-read" in told]
    assert sent["x-amz-grant-read"] == 'id="alice"'
    assert sent["x-amz-grant-full-control"] == f'id="{OWN_BUCKET}"'


def test_a_closed_buckets_notice_is_taken_back(endpoint: S3Endpoint, client: Any) -> None:
    put(endpoint, f"{NOTICES}/bob-scratch.json", 0, OWN_BUCKET)
    with pytest.raises(ExpiryError, match="s3://bob-scratch is closed to this job, and nothing of it goes"):
        look(client, 0, "bob-scratch")
    assert there(endpoint, OWN_BUCKET) == []


def test_a_gateway_that_does_not_answer_takes_no_notice_back(endpoint: S3Endpoint, client: Any) -> None:
    from botocore.exceptions import ClientError

    put(endpoint, "a", 1000)
    look(client)
    endpoint.refuse = 4  # as often as it is asked
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        look(client, 2)
    endpoint.refuse = 0
    assert there(endpoint, OWN_BUCKET) == [f"{NOTICES}/alice-scratch.json"]


def test_parts_of_uploads_that_nobody_ended_go(endpoint: S3Endpoint, client: Any) -> None:
    endpoint.uploads |= {"/alice-scratch/old": NOW - 31 * DAY, "/alice-scratch/new": NOW - DAY, "/alice/old": 0.0}
    look(client)
    assert sorted(endpoint.uploads) == ["/alice-scratch/new", "/alice/old"]


def run(endpoint: S3Endpoint, credentials: Path, *more: str) -> Callable[[], int]:
    words = ["--endpoint", endpoint.url("127.0.0.1"), "--credentials", str(credentials), "--bucket", OWN_BUCKET]
    return lambda: _main([*words, "--days", str(DAYS), *more])


def _main(words: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["expiry", *words])
        return expiry.main()


@pytest.mark.usefixtures("client")
def test_buckets_of_others_are_left_alone(
    endpoint: S3Endpoint, credentials: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another's that only bears such a name, one that was handed over, the job's own, and one that is none."""
    for bucket in ("alice-scratch", "carol-scratch", "zoe-scratch", "zoe"):
        put(endpoint, "a", 1000, bucket)
    endpoint.owners |= {"alice-scratch": "alice", "carol-scratch": "mallory", "zoe-scratch": "zoe"}
    for day in (0, 2, 4, 6, 8):
        assert run(endpoint, credentials, "--now", str(NOW + day * DAY), "--only", "alice-scratch")() == 0
    assert capsys.readouterr().out == "s3://alice-scratch/a: removed, 1 objects of 5 bytes\n"
    for day in (8, 10, 12, 14, 16):
        assert run(endpoint, credentials, "--now", str(NOW + day * DAY))() == 0
    assert capsys.readouterr().out == "s3://zoe-scratch/a: removed, 1 objects of 5 bytes\n"
    assert [there(endpoint, one) for one in ("alice-scratch", "carol-scratch", "zoe")] == [[], ["a"], ["a"]]


@pytest.mark.usefixtures("client")
def test_a_bucket_that_fails_stops_no_other_and_the_run_says_so(
    endpoint: S3Endpoint, credentials: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(endpoint, "a", 1000, "bob-scratch")
    put(endpoint, "a", 1000, "zoe-scratch")
    endpoint.owners |= {f"{name}-scratch": name for name in ("alice", "bob", "zoe")}
    for day in (0, 2, 4, 6, 8):
        assert run(endpoint, credentials, "--now", str(NOW + day * DAY))() == 1
    told = capsys.readouterr()
    assert told.out == "s3://zoe-scratch/a: removed, 1 objects of 5 bytes\n"
    assert "s3://bob-scratch is closed" in told.err


def test_the_gateway_is_asked_as_the_job_is_told(endpoint: S3Endpoint) -> None:
    gateway = expiry.Gateway(urlsplit(endpoint.url("127.0.0.1")).netloc, Keys("key", "secret"))
    (endpoint.folder / "zoe-scratch").mkdir()
    endpoint.owners["zoe-scratch"] = "zoe"
    assert list(expiry.buckets(gateway)) == [("zoe-scratch", "zoe")]
    assert list(expiry.buckets(gateway, "alice-scratch")) == []


def test_who_opened_a_dataset_before_it_expired_reads_no_fill_values(endpoint: S3Endpoint, client: Any) -> None:
    """And what was never written is read as the fill value, as long as the dataset is there."""
    made = xr.Dataset({"t": (("y", "x"), np.arange(16, dtype="i4").reshape(4, 4))})
    for version in (2, 3):
        url = f"s3://alice-scratch/v{version}.zarr"
        made.to_zarr(url, zarr_format=version, encoding={"t": {"chunks": (2, 2)}}, consolidated=True)
    opened = [xr.open_zarr(f"s3://alice-scratch/v{version}.zarr") for version in (2, 3)]
    chunks = ["v2.zarr/t/0.0", "v3.zarr/t/c/0/0"]
    for chunk in chunks:
        (endpoint.folder / "alice-scratch" / chunk).unlink()
    for dataset in opened:
        assert int(dataset.t[0, 0]) == 0
        assert int(dataset.t[3, 3]) == 15
    for file in (endpoint.folder / "alice-scratch").rglob("*"):
        if file.is_file():
            os.utime(file, (NOW - 1000 * DAY,) * 2)
    assert looks(client, 8) == ["v2.zarr/", "v3.zarr/"]
    for dataset in opened:
        with pytest.raises(OSError, match=r"has expired, or was deleted, after it was opened"):
            dataset.t[3, 3].load()
        with pytest.raises(FileNotFoundError):
            xr.open_zarr(dataset.encoding["source"])


def test_what_is_no_chunk_is_simply_not_there(endpoint: S3Endpoint, client: Any) -> None:
    import fsspec

    assert client
    put(endpoint, "there", 0)
    for name in ("a/b.nc", "a.zarr/zarr.json", "nothing"):
        with pytest.raises(FileNotFoundError):
            fsspec.filesystem("s3").cat_file(f"alice-scratch/{name}")
