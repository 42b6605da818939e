"""The filesystem behind "s3://", against an endpoint over HTTP."""

from __future__ import annotations

import pickle

import fsspec
import pytest
from conftest import SECRET
from s3_endpoint import S3Endpoint

from appliance.compute.counters import ReadCounter
from appliance.compute.s3 import OBJECT_BYTES, LocalS3FileSystem


def test_s3_is_the_facilitys_own() -> None:
    assert fsspec.get_filesystem_class("s3") is LocalS3FileSystem


def test_a_chunk_is_one_request_each_way(endpoint: S3Endpoint) -> None:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    chunk = b"\x01" * (OBJECT_BYTES - 1)
    endpoint.log.clear()
    files.pipe_file("alice/chunk", chunk)
    assert files.cat_file("alice/chunk") == chunk
    assert [(method, query) for method, _, _, query in endpoint.log if method != "GET"] == [("PUT", "")]
    assert endpoint.asked() == ["alice/chunk"]


def test_a_part_of_a_chunk_is_one_request(endpoint: S3Endpoint) -> None:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.pipe_file("alice/letters", b"abcdefgh")
    endpoint.log.clear()
    assert files.cat_file("alice/letters", start=2, end=5) == b"cde"
    assert [method for method, *_ in endpoint.log] == ["GET"]


def test_a_gateway_that_fails_is_asked_again(endpoint: S3Endpoint) -> None:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.pipe_file("alice/again", b"x")
    endpoint.refuse = 2
    assert files.cat_file("alice/again") == b"x"


@pytest.mark.usefixtures("endpoint")
def test_what_is_not_there_is_said_so() -> None:
    with pytest.raises(FileNotFoundError):
        fsspec.filesystem("s3", skip_instance_cache=True).cat_file("alice/nothing")


def test_endpoint_and_keys_stay_in_the_process(endpoint: S3Endpoint) -> None:
    url = endpoint.url("127.0.0.1")
    for options in (
        {"key": "canary-key", "secret": SECRET},
        {"endpoint_url": url},
        {"client_kwargs": {"endpoint_url": url, "aws_secret_access_key": SECRET}},
    ):
        files = LocalS3FileSystem(**options)
        carried = pickle.dumps(files) + files.to_json().encode()
        for hidden in ("canary-key", SECRET, url):
            assert hidden.encode() not in carried


@pytest.mark.usefixtures("endpoint")
def test_a_store_elsewhere_keeps_what_the_user_gave() -> None:
    files = LocalS3FileSystem(endpoint_url="https://elsewhere.example", key="theirs", secret="theirs too")
    again = pickle.loads(pickle.dumps(files))  # noqa: S301
    assert (again.endpoint_url, again.key) == ("https://elsewhere.example", "theirs")


class OneHolder:
    """A map in which host1 holds "mine" and host2 everything else."""

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [("host1",) if key == "mine" else () if key == "odd" else ("host2",) for key in keys]


def test_a_read_is_local_only_if_gateway_and_disk_are_here() -> None:
    counter = ReadCounter("host1", lambda _: OneHolder())
    counter.add("b", "mine", 10, "host1")
    counter.add("b", "mine", 20, "host2")
    counter.add("b", "theirs", 40, "host1")
    counter.add("b", "odd", 80, "host1")
    assert counter.settle() == {
        "host": "host1",
        "reads": {"local": 1, "fallback": 1, "elsewhere": 1, "unplaced": 1},
        "bytes": {"local": 10, "fallback": 20, "elsewhere": 40, "unplaced": 80},
    }
    counter.add("b", "mine", 1, "host1")
    assert counter.settle()["bytes"]["local"] == 11


def test_without_a_map_no_read_is_local() -> None:
    def gone(_bucket: str) -> OneHolder:
        raise ConnectionRefusedError("gone")

    counter = ReadCounter("host1", gone)
    counter.add("b", "mine", 10, "host1")
    assert counter.settle()["reads"] == {"unplaced": 1}
