"""The filesystem behind "s3://", against an endpoint over HTTP."""

from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from conftest import SECRET, field
from s3_endpoint import S3Endpoint

from appliance.compute import objects
from appliance.compute.counters import ReadCounter, counter
from appliance.compute.places import OBJECT_BYTES
from appliance.compute.reads import build
from appliance.compute.s3 import LocalS3FileSystem


def clients(endpoint: S3Endpoint, method: str) -> set[str]:
    """Which client libraries sent the requests of a kind."""
    agents = [
        headers["user-agent"]
        for (verb, *_), headers in zip(endpoint.log, endpoint.headers, strict=True)
        if verb == method
    ]
    return {"obstore" if agent.startswith("object_store") else "s3fs" for agent in agents}


def forget(endpoint: S3Endpoint) -> None:
    endpoint.log.clear()
    endpoint.headers.clear()


def test_s3_is_the_facilitys_own() -> None:
    assert fsspec.get_filesystem_class("s3") is LocalS3FileSystem


def test_a_chunk_is_one_request_each_way(endpoint: S3Endpoint) -> None:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    chunk = b"\x01" * (OBJECT_BYTES - 1)
    forget(endpoint)
    files.pipe_file("alice/chunk", chunk)
    assert files.cat_file("alice/chunk") == chunk
    assert [(method, query) for method, _, _, query in endpoint.log if method != "GET"] == [("PUT", "")]
    assert endpoint.asked() == ["alice/chunk"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_zarr_is_one_request_of_obstore_for_a_chunk(endpoint: S3Endpoint, zarr_format: int) -> None:
    forget(endpoint)
    url = f"s3://alice/fast-{zarr_format}.zarr"
    field().chunk(time=10).to_zarr(url, mode="w", zarr_format=zarr_format)
    chunks = [path for path in endpoint.asked("PUT") if "/t/" in path and "zarr.json" not in path and "/." not in path]
    assert len(chunks) == len(set(chunks)) == 24
    assert clients(endpoint, "PUT") == {"obstore"}
    assert not [query for method, _, _, query in endpoint.log if method == "POST" and "uploads" in query]
    forget(endpoint)
    mean = float(xr.open_zarr(url).t.mean().compute())
    assert mean == pytest.approx(float(field().t.mean()))
    read = [path for path in endpoint.asked() if path in set(chunks)]
    assert sorted(read) == sorted(chunks)
    assert clients(endpoint, "GET") == {"obstore"}
    assert not set(endpoint.asked("HEAD")) & set(chunks)


def test_nothing_of_the_process_is_in_a_graph(endpoint: S3Endpoint, dataset: str) -> None:
    own = {"endpoint_url": endpoint.url("127.0.0.1"), "key": "canary-key", "secret": SECRET}
    for options in (None, own):
        opened = xr.open_zarr(dataset, storage_options=options)
        opened.t.isel(time=0).compute()
        graph = cloudpickle.dumps(opened.mean())
        assert b"LocalS3FileSystem" in graph
        written = field().chunk(time=60).to_zarr(f"{dataset}-2", mode="w", storage_options=options, compute=False)
        graph += cloudpickle.dumps(written)
        for hidden in ("127.0.0.1", "canary-key", SECRET, "canary"):
            assert hidden.encode() not in graph
        back = pickle.loads(graph)  # noqa: S301
        assert float(back.t.compute()) == pytest.approx(float(field().t.mean()))


def test_what_is_larger_than_an_object_goes_in_parts(endpoint: S3Endpoint) -> None:
    files = LocalS3FileSystem(skip_instance_cache=True)
    data = bytes(range(250)) * 100
    forget(endpoint)
    files.pipe_file("alice/in-parts", data, chunksize=10_000)
    assert sorted(query for method, _, _, query in endpoint.log if method == "PUT") == [
        f"partNumber={part}&uploadId=1" for part in (1, 2, 3)
    ]
    assert files.cat_file("alice/in-parts") == data


def test_a_part_of_a_chunk_is_one_request(endpoint: S3Endpoint) -> None:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.pipe_file("alice/letters", b"abcdefgh")
    forget(endpoint)
    assert files.cat_file("alice/letters", start=2, end=5) == b"cde"
    assert [method for method, *_ in endpoint.log] == ["GET"]


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 3), (2, None), (None, 3), (-3, None), (-100, None), (1, -1), (None, -2), (-3, -1), (3, 3), (5, 2), (4, 100)],
)
def test_ranges_are_those_of_slices(endpoint: S3Endpoint, start: int | None, end: int | None) -> None:
    (endpoint.folder / "alice").mkdir(exist_ok=True)
    (endpoint.folder / "alice/letters").write_bytes(b"abcdefgh")
    files = LocalS3FileSystem(skip_instance_cache=True)
    assert files.cat_file("alice/letters", start=start, end=end) == b"abcdefgh"[start:end]


@pytest.mark.usefixtures("endpoint")
def test_a_range_behind_the_end_says_so_as_zarr_wants_it() -> None:
    files = LocalS3FileSystem(skip_instance_cache=True)
    files.pipe_file("alice/short", b"abc")
    with pytest.raises(OSError, match="s3://alice/short: the range is not satisfiable"):
        files.cat_file("alice/short", start=10, end=12)


@pytest.mark.usefixtures("endpoint")
def test_each_read_is_counted_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[object, ...]] = []
    monkeypatch.setattr(counter(), "add", lambda *read: noted.append(read))
    files = LocalS3FileSystem(skip_instance_cache=True)
    files.pipe_file("alice/letters", b"abcdefgh")
    files.cat_file("alice/letters")
    files.cat_file("alice/letters", start=5, end=7)
    files.cat_file("alice/letters", start=-2)
    files.cat_ranges(["alice/letters"] * 2, [0, 4], [2, 8])
    with files.open("alice/letters", block_size=4, cache_type="none") as file:
        file.seek(3)
        file.read(2)
    expected = ((8, 0), (2, 5), (2, 6), (2, 0), (4, 4), (2, 3))
    assert sorted(noted) == sorted(("alice", "letters", nbytes, "host1", offset, False) for nbytes, offset in expected)


def test_a_gateway_that_fails_is_asked_again(endpoint: S3Endpoint) -> None:
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.pipe_file("alice/again", b"x")
    endpoint.refuse = 2
    assert files.cat_file("alice/again") == b"x"
    endpoint.refuse = 2
    files.pipe_file("alice/again", b"yy")
    assert (endpoint.folder / "alice/again").read_bytes() == b"yy"


def test_an_answer_that_breaks_off_is_asked_for_again(endpoint: S3Endpoint) -> None:
    data = np.random.default_rng(3).bytes(3_000_000)
    files = LocalS3FileSystem(skip_instance_cache=True)
    files.pipe_file("alice/broken", data)
    endpoint.cut = 2
    assert files.cat_file("alice/broken") == data
    assert endpoint.cut == 0
    endpoint.cut = 1
    assert files.cat_file("alice/broken", start=10, end=2_000_000) == data[10:2_000_000]
    assert endpoint.cut == 0


@pytest.mark.parametrize("key", ["a//b", "end/", "ü &+?#%20.nc", "_x", "line\nbreak", "a" * 1000])
def test_odd_keys_name_what_they_say(endpoint: S3Endpoint, key: str) -> None:
    files = LocalS3FileSystem(skip_instance_cache=True)
    if key not in ("a//b", "end/", "a" * 1000):  # names that the endpoint's folder cannot have
        files.pipe_file(f"alice/{key}", b"odd")
        assert files.cat_file(f"alice/{key}") == b"odd"
    forget(endpoint)
    with pytest.raises(FileNotFoundError):
        files.cat_file(f"alice/none/{key}")
    assert endpoint.log[0][:1] + endpoint.log[0][2:3] == ("GET", f"/alice/none/{key}")


@pytest.mark.usefixtures("endpoint")
def test_files_are_used_as_ever(tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text("b\n")
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    pd.DataFrame({"a": [1, 2]}).to_csv("s3://alice/table/one.csv", index=False)
    assert pd.read_csv("s3://alice/table/one.csv").a.tolist() == [1, 2]
    assert files.ls("alice/table") == ["alice/table/one.csv"]
    assert files.exists("alice/table/one.csv")
    assert files.info("alice/table/one.csv")["size"] == 6
    files.put(str(tmp_path / "two.csv"), "alice/table/two.csv")
    assert sorted(files.find("alice/table")) == ["alice/table/one.csv", "alice/table/two.csv"]
    files.get("alice/table/two.csv", str(tmp_path / "back.csv"))
    assert (tmp_path / "back.csv").read_text() == "b\n"
    files.rm("alice/table", recursive=True)
    assert not files.exists("alice/table/one.csv")


@pytest.mark.usefixtures("endpoint")
def test_what_is_anothers_is_denied() -> None:
    files = LocalS3FileSystem(skip_instance_cache=True)
    for ask in (lambda: files.cat_file("bob/x"), lambda: files.pipe_file("bob/x", b"")):
        with pytest.raises(PermissionError, match="s3://bob/x"):
            ask()


def test_missing_keys_are_said_to_be_missing(endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    access = objects.Access(endpoint.url("127.0.0.2"))
    with pytest.raises(OSError, match="AWS_SHARED_CREDENTIALS_FILE"):
        asyncio.run(objects.read("alice", "x", access))


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


def test_another_endpoint_is_asked_by_s3fs_and_not_counted(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[object] = []
    monkeypatch.setattr(counter(), "add", lambda *read: noted.append(read))
    theirs = LocalS3FileSystem(endpoint_url=endpoint.url("127.0.0.9"), key="theirs", secret="theirs too")
    theirs.pipe_file("alice/elsewhere", b"x")
    forget(endpoint)
    assert theirs.cat_file("alice/elsewhere") == b"x"
    assert [entry[:2] for entry in endpoint.log] == [("GET", "host9")]
    assert clients(endpoint, "GET") == {"s3fs"}
    assert not noted


class OneHolder:
    """A map in which host1 holds "mine", and "shared" with host2, which holds everything else."""

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        known: dict[str, tuple[str, ...]] = {"mine": ("host1",), "shared": ("host2", "host1"), "odd": ()}
        return [known.get(key, ("host2",)) for key in keys]

    def hosts_of_ranges(self, _bucket: str, ranges: list[tuple[str, int, int]]) -> list[tuple[tuple[str, int], ...]]:
        return [
            (("host1", length),) if offset >= OBJECT_BYTES else (("host2", length), ("host1", length - 1))
            for _, offset, length in ranges
        ]


def test_a_read_is_local_only_if_gateway_and_disk_are_here() -> None:
    counter = ReadCounter("host1", lambda _: OneHolder(), OneHolder)
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
    counter.add("b", "shared", 2, "host1")
    assert counter.settle()["bytes"]["replica"] == 2
    (row,) = build([counter.settle()]).rows
    assert (row.host, row.reads, row.local, row.replica, row.remote) == ("host1", 6, 3, 1, 3)
    assert (row.bytes, row.remote_bytes) == (153, 140)


def test_where_an_object_lies_in_parts_the_offset_decides() -> None:
    counter = ReadCounter("host1", lambda _: OneHolder(), OneHolder)
    counter.add("b", "mine", 10, "host1", OBJECT_BYTES, True)
    counter.add("b", "mine", 20, "host1", OBJECT_BYTES - 20, True)
    counter.add("b", "theirs", 40, "host1", OBJECT_BYTES - 40, False)
    assert counter.settle()["bytes"] == {"local": 10, "elsewhere": 60}


@pytest.mark.usefixtures("endpoint")
def test_an_object_uploaded_in_parts_is_known_by_its_etag(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not objects.in_parts(OBJECT_BYTES, '"0cc175b9c0f1b6a831c399e269772661"')
    assert objects.in_parts(OBJECT_BYTES + 1, '"0cc175b9c0f1b6a831c399e269772661"')
    noted: list[object] = []
    monkeypatch.setattr(counter(), "add", lambda *read: noted.append(read[-1]))
    monkeypatch.setattr("s3_endpoint.etag_of", lambda _: '"0cc175b9c0f1b6a831c399e269772661-3"')
    files = LocalS3FileSystem(skip_instance_cache=True)
    files.pipe_file("alice/parts", b"abc")
    files.cat_file("alice/parts", start=1, end=2)
    with files.open("alice/parts") as file:
        file.read()
    assert noted == [True, True]


def test_without_a_map_no_read_is_local() -> None:
    def gone(*_bucket: str) -> OneHolder:
        raise ConnectionRefusedError("gone")

    counter = ReadCounter("host1", gone, gone)
    counter.add("b", "mine", 10, "host1")
    counter.add("b", "parts", 10, "host1", in_parts=True)
    assert counter.settle()["reads"] == {"unplaced": 2}


def test_whoever_asks_while_the_map_is_asked_for_misses_no_read() -> None:
    asked, answer = threading.Event(), threading.Event()

    def slowly(_bucket: str) -> OneHolder:
        asked.set()
        answer.wait(10)
        return OneHolder()

    counter = ReadCounter("host1", slowly, OneHolder)
    counter.add("b", "mine", 10, "host1")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(counter.settle)
        assert asked.wait(10)
        second = threads.submit(counter.settle)
        answer.set()
        assert second.result()["reads"] == first.result()["reads"] == {"local": 1}
