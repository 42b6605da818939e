"""Icechunk's manifest files, as Icechunk writes them and damaged."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import icechunk
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.zstd import compress, decompress

from appliance.data import manifests
from appliance.data.references import ArrayReferences, Part


class Manifest(NamedTuple):
    """A file, and the id of the array "t" that it is about."""

    name: str
    content: bytes
    node: str


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """One with a chunk in itself and a virtual one."""
    folder = tmp_path_factory.mktemp("icechunk")
    made = icechunk.Repository.create(icechunk.local_filesystem_storage(str(folder)))
    session = made.writable_session("main")
    array = zarr.create_group(session.store).create_array("t", shape=(40,), chunks=(10,), dtype="f8", compressors=None)
    array[:10] = np.arange(10)
    spec = icechunk.VirtualChunkSpec([2], "s3://alice/file.nc", 7, 80, etag_checksum="tag")
    session.store.set_virtual_refs("t", [spec], validate_containers=False)
    described = json.loads(made.inspect_snapshot(session.commit("one array")))
    (file,) = (folder / "manifests").iterdir()
    return Manifest(file.name, file.read_bytes(), described["nodes"][1]["id"])


def test_what_is_no_manifest_is_refused(manifest: Manifest) -> None:
    name, content, _ = manifest
    assert len(manifests.parse(content, name, "0" * 13).rows) == 0  # no such array
    for damaged, message in (
        (content[:36] + b"\x02" + content[37:], r"kind and compression \(2, 2, 1\): known are .* and \(1, 2, 1\)"),
        (b"<html>", "begins with b'<html>'"),
        (content[:-20], f"manifest {name} is damaged"),
    ):
        with pytest.raises(manifests.FormatError, match=message):
            manifests.parse(damaged, name, "0" * 13)
    with pytest.raises(manifests.FormatError, match="says that it is another"):
        manifests.parse(content, f"{name[:-4]}0000", "0" * 13)


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_in_a_manifest_is_an_error_of_its_format(manifest: Manifest, changes: Any) -> None:
    name, content, node = manifest
    table = bytearray(decompress(content[manifests.HEADER_BYTES :]))
    for position, value in changes:
        table[position % len(table)] = value
    try:
        refs = manifests.parse(content[: manifests.HEADER_BYTES] + compress(bytes(table)), name, node)
    except manifests.FormatError:
        return
    assert len(refs.rows) == len(refs.coordinates)


def test_a_manifest_counts_for_its_extents_only(manifest: Manifest) -> None:
    refs = manifests.parse(manifest.content, manifest.name, manifest.node)
    for ranges, keys_in in (((0, 4), ["t/c/2"]), ((0, 2), []), ((2, 3), ["t/c/2"])):
        references = ArrayReferences("t", [Part((ranges,), refs)], "s3://alice/chunks/", str)
        assert list(references) == keys_in
        for key in ("t/c/0", "t/c/9", "t/c", "t/c/2/0", "t/c/-2", "t/cc/2", "u/c/2", "t/c/x"):
            assert key not in references
    assert references["t/c/2"] == ("s3://alice/file.nc", 7, 80, "tag", 0)


def test_ids_are_spelled_as_icechunk_does() -> None:
    first_snapshot = bytes.fromhex("0b1cc8d6787580f0e33a6534")  # of every repository
    assert manifests.name_of(first_snapshot) == "1CECHNKREP0F1RSTCMT0"
