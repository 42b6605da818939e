"""The filesystem behind "s3://", against an endpoint over HTTP."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask_processes import field
from s3_endpoint import SECRET, S3Endpoint, etag_of

from appliance.compute.reading import objects, placement_access
from appliance.compute.reading.filesystem import LocalS3FileSystem
from appliance.compute.reading.read_counter import counter
from appliance.placement import PlacementUnavailable

MIB = 2**20


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


def map_says(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(get=lambda: SimpleNamespace(chunk_bytes=chunk_bytes))
    monkeypatch.setattr(placement_access, "maps", lambda: answer)


@pytest.mark.parametrize("chunk_mib", [32, 64])
def test_a_chunk_is_one_request_each_way(endpoint: S3Endpoint, chunk_mib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    map_says(chunk_mib * MIB, monkeypatch)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    chunk = b"\x01" * (chunk_mib * MIB)
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


@pytest.mark.parametrize(("chunk_mib", "parts"), [(32, [32, 8]), (64, [40]), (4, [8] * 5)])
def test_the_parts_of_an_upload_have_the_chunk_size_of_the_map(
    endpoint: S3Endpoint, chunk_mib: int, parts: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 wants parts of 5 MiB or more: with smaller chunks they are several of them.

    s3fs puts files of less than two parts in one request.
    """
    map_says(chunk_mib * MIB, monkeypatch)
    files = LocalS3FileSystem(skip_instance_cache=True)
    (tmp_path / "file").write_bytes(bytes(40 * MIB))
    forget(endpoint)
    files.pipe_file("alice/in-parts", bytes(40 * MIB))
    files.put_file(str(tmp_path / "file"), "alice/put-in-parts")
    for key in ("in-parts", "put-in-parts"):
        sent = [
            int(headers["content-length"]) // MIB
            for (method, _, path, _), headers in zip(endpoint.log, endpoint.headers, strict=True)
            if method == "PUT" and path.endswith(f"/{key}")
        ]
        assert sorted(sent, reverse=True) == (parts if key == "in-parts" or len(parts) > 2 else [40])


def test_without_a_map_what_is_written_is_written_all_the_same(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> object:
        raise PlacementUnavailable("gone")

    for answer in (gone, lambda: SimpleNamespace(get=gone)):
        monkeypatch.setattr(placement_access, "maps", answer)
        assert placement_access.part_bytes() == placement_access.PART_BYTES_WITHOUT_MAP
        forget(endpoint)
        LocalS3FileSystem(skip_instance_cache=True).pipe_file("alice/without-a-map", bytes(10 * MIB))
        assert endpoint.asked("PUT") == ["alice/without-a-map"]
    monkeypatch.undo()
    monkeypatch.delenv("APPLIANCE_PLACEMENT_URL", raising=False)
    placement_access.maps.cache_clear()
    assert placement_access.part_bytes() == placement_access.PART_BYTES_WITHOUT_MAP


def test_what_is_small_is_written_without_asking_for_a_map(
    endpoint: S3Endpoint,  # noqa: ARG001 - written to
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked() -> object:
        raise AssertionError("the placement service was asked")

    monkeypatch.setattr(placement_access, "maps", asked)
    LocalS3FileSystem(skip_instance_cache=True).pipe_file("alice/small", bytes(5 * MIB))


def test_what_is_larger_than_a_part_goes_in_parts(endpoint: S3Endpoint) -> None:
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


def test_who_served_is_no_metadata_of_the_object(endpoint: S3Endpoint) -> None:
    """What a copying tool would write into the copy, as s3fs shows it; the reader that counts gets it all the same."""
    files = LocalS3FileSystem(skip_instance_cache=True)
    files.pipe_file("alice/plain", b"abc")
    assert files.metadata("alice/plain") == {}
    answer = files.call_s3("get_object", Bucket="alice", Key="plain")
    assert (answer["Metadata"], answer["ResponseMetadata"]["HTTPHeaders"][objects.SERVED_BY]) == ({}, "host1")
    got = asyncio.run(objects.read("alice", "plain", objects.own_access()))
    assert (got.data, got.served_by) == (b"abc", "host1")
    told = {headers["user-agent"].startswith("object_store"): objects.READER in headers for headers in endpoint.headers}
    assert told == {True: True, False: False}


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
    of_object = (8, etag_of(b"abcdefgh"))
    assert sorted(noted) == sorted(
        ("alice", "letters", nbytes, "host1", offset, *of_object) for nbytes, offset in expected
    )


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
    access = objects.S3Access(endpoint.url("127.0.0.2"))
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


def test_what_another_process_wrote_or_removed_is_seen(endpoint: S3Endpoint) -> None:
    files = fsspec.filesystem("s3")
    folder = endpoint.folder / "alice/shared"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one").write_bytes(b"1")
    assert files.ls("alice/shared") == ["alice/shared/one"]
    assert not files.exists("alice/shared/two")
    (folder / "two").write_bytes(b"2")
    assert files.ls("alice/shared") == files.find("alice/shared") == ["alice/shared/one", "alice/shared/two"]
    assert files.exists("alice/shared/two")
    assert files.glob("alice/shared/t*") == ["alice/shared/two"]
    (folder / "one").write_bytes(b"longer")
    assert files.info("alice/shared/one")["size"] == files.size("alice/shared/one") == 6
    (folder / "one").unlink()
    assert not files.exists("alice/shared/one")
    assert files.ls("alice/shared") == ["alice/shared/two"]
    # Who reads a tree that nobody changes may ask for what fsspec does elsewhere.
    kept = fsspec.filesystem("s3", use_listings_cache=True)
    assert kept.ls("alice/shared") == ["alice/shared/two"]
    (folder / "one").write_bytes(b"1")
    assert kept.ls("alice/shared") == ["alice/shared/two"]
