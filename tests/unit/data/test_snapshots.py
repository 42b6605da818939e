"""Icechunk repositories as a Zarr store whose chunks are placed. Icechunk itself is what they are compared with."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr
from s3_endpoint import S3Endpoint, etag_of
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from appliance.compute.scheduling.zarr_source import source_of
from appliance.data import manifests, snapshots, virtual_store
from appliance.data.repositories import keys, storage
from appliance.data.snapshots import SnapshotStore

Written = Callable[..., Any]
FILE = "odd/größe 1.bin"
CONTENT = bytes(range(256)) * 40
OTHER_FILE, OTHER_CONTENT = "odd/2.bin", CONTENT[::-1]
LATER = 2_000_000_000  # s since 1970
PARTS = {
    RangeByteRequest(3, 9): slice(3, 9),
    OffsetByteRequest(60): slice(60, None),
    SuffixByteRequest(5): slice(-5, None),
    SuffixByteRequest(500): slice(None),
    RangeByteRequest(60, 500): slice(60, None),
}


@pytest.fixture
def repository(endpoint: S3Endpoint) -> Any:
    """An empty repository ``s3://alice/repo`` with manifests in pieces, and files beside it for virtual chunks."""
    file = endpoint.folder / "alice" / FILE
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    (endpoint.folder / "alice" / OTHER_FILE).write_bytes(OTHER_CONTENT)
    return created("s3://alice/repo")


def created(url: str, **container: Any) -> Any:
    store = icechunk.s3_store(
        region="us-east-1", allow_http=True, force_path_style=True, s3_compatible=True, **container
    )
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer("s3://alice/", store))
    split = icechunk.ManifestSplittingConfig.from_dict(
        {icechunk.ManifestSplitCondition.AnyArray(): {icechunk.ManifestSplitDimCondition.Any(): 3}}
    )
    config.manifest = icechunk.ManifestConfig(splitting=split)
    authorized = keys(["s3://alice/"])
    made = icechunk.Repository.create(storage(url), config, authorize_virtual_chunk_access=authorized)
    made.save_config()
    return made


def virtual(group: Any, name: str, chunks: dict[tuple[int, ...], dict[str, Any]], shape: tuple[int, ...]) -> None:
    """An array of 64-byte chunks in FILE. Of ``chunks``, the index is the key and the value what Icechunk notes."""
    group.create_array(
        name, shape=shape, chunks=(1,) * (len(shape) - 1) + (16,), dtype="f4", compressors=None, fill_value=7
    )
    specs = [
        icechunk.VirtualChunkSpec(index=list(index), **{"location": f"s3://alice/{FILE}", "length": 64, **noted})
        for index, noted in chunks.items()
    ]
    group.store.set_virtual_refs(f"{group.path}/{name}".strip("/"), specs)


@pytest.fixture
def written(repository: Any) -> Any:
    """With chunks of all kinds, in nested groups, and an older snapshot of which the newest differs."""
    rng = np.random.default_rng(1)
    session = repository.writable_session("main")
    root = zarr.create_group(session.store)
    root.create_array("native", data=rng.normal(size=(14, 200)), chunks=(2, 200))
    root.create_array("c", data=np.arange(3.0))  # an array called as chunks are
    root.create_array("scalar", data=np.array(5.0))
    deep = root.create_group("a/c")
    sparse = deep.create_array("sparse", shape=(10, 200), chunks=(2, 200), dtype="f8", fill_value=3.0)
    sparse[4:6] = rng.normal(size=(2, 200))
    deep.create_array("empty", shape=(4,), chunks=(2,), dtype="i4")
    many = {
        (i, j): {
            "offset": 64 * (i * 8 + j),
            "location": f"s3://alice/{(OTHER_FILE, FILE)[(i + j) % 3 == 0]}",
            "etag_checksum": etag_of((OTHER_CONTENT, CONTENT)[(i + j) % 3 == 0]),
        }
        for i, j in itertools.product(range(7), range(8))
        if (i + j) % 5
    }
    virtual(deep, "many", many, (7, 8 * 16))
    virtual(root, "tagged", {(0,): {"offset": 3, "etag_checksum": etag_of(CONTENT)}}, (16,))
    root.create_array("resized", data=rng.normal(size=(8, 200)), chunks=(1, 200))
    session.commit("first")
    session = repository.writable_session("main")
    zarr.open_array(session.store, path="resized", mode="r+").resize((5, 200))
    session.commit("fewer chunks")
    session = repository.writable_session("main")
    zarr.open_array(session.store, path="resized", mode="r+").resize((7, 200))
    zarr.open_array(session.store, path="native", mode="r+")[2:4] = 1.5
    zarr.open_array(session.store, path="a/c/sparse", mode="r+")[0:2] = rng.normal(size=(2, 200))
    session.commit("second")
    repository.create_branch("aside", repository.lookup_branch("main"))
    session = repository.writable_session("aside")
    zarr.open_array(session.store, path="native", mode="r+")[:] = 0
    session.commit("not on main")
    return repository


def get(store: Any, *keys: str, byte_range: Any = None) -> list[bytes | None]:
    async def together() -> list[Any]:
        return await asyncio.gather(*(store.get(key, default_buffer_prototype(), byte_range) for key in keys))

    return [None if found is None else found.to_bytes() for found in asyncio.run(together())]


def arrays(store: Any) -> dict[str, Any]:
    return {name: array for name, array in zarr.open_group(store, mode="r").members(None) if hasattr(array, "chunks")}


def chunk_keys(path: str, array: Any) -> dict[str, tuple[int, ...]]:
    grid = itertools.product(*(range(-(-size // chunk)) for size, chunk in zip(array.shape, array.chunks, strict=True)))
    return {f"{path}/{array.metadata.encode_chunk_key(index)}": index for index in grid}


def test_every_chunk_is_what_icechunk_reads_and_its_reference_where_it_lies(endpoint: S3Endpoint, written: Any) -> None:
    session = written.readonly_session("main")
    store = virtual_store("s3://alice/repo")
    kinds = []
    for path, array in arrays(session.store).items():
        references = store.references_of(path)
        chunks = chunk_keys(path, array)
        contents = get(session.store, *chunks)
        assert get(store, *chunks) == contents
        for (key, index), expected in zip(chunks.items(), contents, strict=True):
            kind = session.chunk_type(f"/{path}", list(index))
            kinds.append(kind)
            assert (key in references) == (kind in (icechunk.ChunkType.NATIVE, icechunk.ChunkType.VIRTUAL)), key
            if key in references:
                url, offset, length = references[key][:3]
                assert (endpoint.folder / url.removeprefix("s3://")).read_bytes()[offset : offset + length] == expected
        listed = list(references)
        assert set(listed) <= set(chunks)
        assert len(listed) == len(references) == len(set(listed))
    of_kind = icechunk.ChunkType
    assert [kinds.count(kind) for kind in (of_kind.NATIVE, of_kind.VIRTUAL, of_kind.INLINE, of_kind.UNINITIALIZED)] == [
        6 + 2 + 5,
        45 + 1,
        1 + 1 + 1,
        3 + 2 + 11 + 2,
    ]


def test_all_of_zarr_is_as_icechunks_own(written: Any) -> None:
    own, placed = written.readonly_session("main").store, virtual_store("s3://alice/repo")
    expected, found = arrays(own), arrays(placed)
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path][...], array[...])
    assert get(placed, "native/zarr.json") == get(own, "native/zarr.json")
    assert get(placed, "native/c/99/0", "a/c/empty/c/0", "none/zarr.json") == [None] * 3
    for part, bounds in PARTS.items():
        assert get(placed, "tagged/c/0", byte_range=part) == [CONTENT[3:67][bounds]]
    assert virtual_store("s3://alice/repo").references_of("none") is None
    with pytest.raises(ValueError, match="cannot be written to"):
        placed.with_read_only(False)
    with placed as entered:
        assert entered is placed


def test_a_store_stays_with_its_snapshot_wherever_it_is_opened(written: Any) -> None:
    before = virtual_store("s3://alice/repo")
    pickled = pickle.dumps(before)
    assert len(pickled) < 200
    session = written.writable_session("main")
    zarr.open_array(session.store, path="native", mode="r+")[:] = -1.0
    session.commit("third")
    assert pickle.loads(pickled) is before  # noqa: S301
    assert zarr.open_array(SnapshotStore(before.url, before.snapshot), path="native", mode="r")[2, 0] == 1.5
    assert zarr.open_array(virtual_store("s3://alice/repo"), path="native", mode="r")[2, 0] == -1.0


@pytest.mark.usefixtures("written")
def test_objects_of_the_repository_are_told_from_files() -> None:
    store = virtual_store("s3://alice/repo")
    native, many = (source_of(zarr.open_array(store, path=path, mode="r")) for path in ("native", "a/c/many"))
    assert native is not None
    assert many is not None
    ((key, offset, length),) = native.ranges((slice(0, 2), slice(None)))
    assert (native.bucket, key[:12], offset, native.is_one_chunk(key)) == ("alice", "repo/chunks/", 0, True)
    assert length < 2 * 200 * 8
    assert many.ranges((slice(3, 4), slice(0, 16))) == [(FILE, 64 * 24, 64)]
    assert many.ranges((slice(0, 1), slice(0, 16))) == []  # missing
    assert not many.is_one_chunk(FILE)


def test_a_file_that_was_changed_or_deleted_is_not_read(endpoint: S3Endpoint, repository: Any) -> None:
    session = repository.writable_session("main")
    root = zarr.create_group(session.store)
    virtual(root, "tagged", {(0,): {"offset": 0, "etag_checksum": etag_of(CONTENT)}}, (16,))
    dated = {(0,): {"offset": 0, "last_updated_at_checksum": datetime.fromtimestamp(LATER, UTC)}}
    virtual(root, "dated", dated, (16,))
    virtual(root, "unmarked", {(0,): {"offset": 30}}, (16,))
    session.commit("with conditions")
    own, placed = repository.readonly_session("main").store, virtual_store("s3://alice/repo")
    file = endpoint.folder / "alice" / FILE
    for path in ("tagged", "dated"):
        assert get(placed, f"{path}/c/0") == [CONTENT[:64]]
    file.write_bytes(CONTENT[::-1])
    os.utime(file, (LATER + 1, LATER + 1))
    for path in ("tagged", "dated"):
        with pytest.raises(OSError, match=f"s3://alice/{FILE} was changed after the dataset"):
            get(placed, f"{path}/c/0")
        with pytest.raises(icechunk.IcechunkError, match="has changed"):
            get(own, f"{path}/c/0")
    file.write_bytes(CONTENT[:50])
    with pytest.raises(OSError, match=f"s3://alice/{FILE} ends before its chunk unmarked/c/0"):
        get(placed, "unmarked/c/0")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=FILE):
        zarr.open_array(placed, path="dated", mode="r")[:]


@pytest.mark.parametrize("container", [{"endpoint_url": "http://127.0.0.1:9"}, {"anonymous": True}])
@pytest.mark.usefixtures("repository")
def test_chunks_on_another_s3_are_left_to_icechunk(endpoint: S3Endpoint, container: dict[str, Any]) -> None:
    made = created("s3://alice/another", **container)
    session = made.writable_session("main")
    virtual(zarr.create_group(session.store), "t", {(0,): {"offset": 0}}, (16,))
    session.commit("elsewhere")
    store = virtual_store("s3://alice/another")
    references = store.references_of("t")
    assert references is not None
    assert len(references) == 0
    endpoint.log.clear()
    with pytest.raises(icechunk.IcechunkError):
        get(store, "t/c/0")
    assert [path for path in endpoint.asked() if FILE in path] == []


def test_manifests_of_another_version_are_left_to_icechunk(
    written: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manifests, "VERSION", 9)
    store = SnapshotStore("s3://alice/repo", written.lookup_branch("main"))
    own = written.readonly_session("main").store
    with caplog.at_level(logging.WARNING):
        for path, array in arrays(store).items():
            assert store.references_of(path) is None or path.endswith("empty")
            chunks = chunk_keys(path, array)
            assert get(store, *chunks) == get(own, *chunks)
    (said,) = (record.getMessage() for record in caplog.records if record.name == snapshots.logger.name)
    assert "s3://alice/repo are read by Icechunk itself" in said


def test_a_scheduler_waits_for_references_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.data.snapshots.WAIT", 0.01)
    store = SnapshotStore("s3://alice/slow", "SNAPSHOT")
    late = Asked()
    monkeypatch.setattr(store, "_load", lambda _path: late)
    assert [store.references_of(path) for path in ("t", "t", "u")] == [None] * 3
    assert late.times == 1
    late.set_result("references")
    assert store.references_of("t") == "references"


def test_references_that_could_not_be_read_are_asked_for_again(
    endpoint: S3Endpoint, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SnapshotStore("s3://alice/repo", written.lookup_branch("main"))
    (endpoint.folder / "alice/repo/manifests").rename(endpoint.folder / "alice/away")
    assert store.references_of("native") is None
    (endpoint.folder / "alice/away").rename(endpoint.folder / "alice/repo/manifests")
    assert store.references_of("native") is not None
    monkeypatch.setattr(manifests, "VERSION", 9)
    assert store.references_of("scalar") is None
    monkeypatch.undo()
    assert store.references_of("scalar") is None


class Asked(Future[Any]):
    """A result that says how often it was waited for."""

    times = 0

    def result(self, timeout: float | None = None) -> Any:
        self.times += 1
        return super().result(timeout)


@pytest.mark.usefixtures("endpoint")
def test_a_repository_that_is_gone_places_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = SnapshotStore("s3://alice/gone", "1CECHNKREP0F1RSTCMT0")
    with caplog.at_level(logging.WARNING):
        assert store.references_of("t") is None
    assert "s3://alice/gone: there is no Icechunk repository" in caplog.text
    with pytest.raises(ValueError, match="there is no Icechunk repository"):
        get(store, "t/c/0")
