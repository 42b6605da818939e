"""Manifests that a real gateway has written, damaged ones, and those of other versions."""

import base64
import random
from typing import Any

import pytest
from recorded_objects import MIB, RECORDED, decoded, pool_of

from appliance.placement import MapError
from appliance.placement.model.rgw_manifest import decode_manifest


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: f"{entry['bucket']} {entry['key']}")
def test_pieces_are_those_that_ceph_names(entry: dict[str, Any]) -> None:
    layout = decoded(entry)
    assert layout.bytes == entry["size"]
    # Ceph lists heads without data too, and stripes at their full size behind the object's end.
    theirs = [
        (offset, min(size, layout.bytes - offset), name, locator or name)
        for offset, size, name, locator in entry["objects"]
        if size
    ]
    assert [(piece.offset, piece.bytes, piece.name, piece.locator) for piece in layout.pieces()] == theirs
    assert {piece.pool for piece in layout.pieces()} == {7}


def test_the_recorded_objects_are_of_every_kind() -> None:
    layouts = [decoded(entry) for entry in RECORDED]
    assert any(layout.head_bytes == layout.bytes for layout in layouts), "of one RADOS object"
    assert any(0 < layout.head_bytes < layout.bytes for layout in layouts), "head and stripes"
    assert any(layout.head_bytes == 0 for layout in layouts), "in parts"
    assert any(len(layout.rules) > 1 for layout in layouts), "in parts of several sizes"
    assert any(rule.prefix for layout in layouts for rule in layout.rules), "with parts that were uploaded twice"
    assert any(layout.version for layout in layouts), "versions"
    assert any(piece.name != piece.locator for layout in layouts for piece in layout.pieces()), "locators"


@pytest.mark.parametrize("entry", RECORDED[:4], ids=lambda entry: entry["key"])
def test_a_truncated_manifest_is_refused_at_every_byte(entry: dict[str, Any]) -> None:
    whole = base64.b64decode(entry["manifest"])
    for end in range(len(whole)):
        with pytest.raises(MapError):
            decode_manifest(whole[:end], "", 7, pool_of)


def test_a_damaged_manifest_is_refused_or_read_and_nothing_else() -> None:
    chooser = random.Random(5)
    for entry in RECORDED:
        whole = base64.b64decode(entry["manifest"])
        for _ in range(400):
            damaged = bytearray(whole)
            for _ in range(chooser.randint(1, 3)):
                damaged[chooser.randrange(len(damaged))] = chooser.randrange(256)
            try:
                layout = decode_manifest(bytes(damaged), "", 7, pool_of)
                assert sum(piece.bytes for piece in layout.pieces(0, 10 * MIB)) == min(10 * MIB, layout.bytes)
            except MapError:
                continue


def test_a_pool_that_nobody_knows_leaves_the_object_unknown() -> None:
    whole = base64.b64decode(next(entry["manifest"] for entry in RECORDED if entry["key"] == "_plprobe/large"))
    with pytest.raises(MapError, match="no pool is known for placement rule 'default-placement'"):
        decode_manifest(whole, "", 7, lambda *_: None)


def test_a_later_manifest_that_this_program_cannot_read_is_refused() -> None:
    whole = bytearray(base64.b64decode(RECORDED[0]["manifest"]))
    whole[1] = 9
    with pytest.raises(MapError, match="RGWObjManifest is of version 8 \\(9 at least\\)"):
        decode_manifest(bytes(whole), "", 7, pool_of)
