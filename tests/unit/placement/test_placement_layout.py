"""Objects of many pieces: manifests recorded from a real gateway, and the arithmetic of ranges."""

import base64
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from appliance.placement import MapError
from appliance.placement.layout import MAX_PIECES, Layout, Piece, Rule
from appliance.placement.manifest import decode

# Of each object: the attribute user.rgw.manifest, and what `radosgw-admin object manifest` says of it.
RECORDED = json.loads((Path(__file__).with_name("answers") / "gateway_manifests.json").read_text())
MIB = 2**20


def pool_of(rule: str, explicit: str) -> int | None:
    return 7 if rule.partition("/")[0] == "default-placement" and not explicit else None


def decoded(entry: dict[str, Any]) -> Layout:
    return decode(base64.b64decode(entry["manifest"]), entry["etag"], 7, pool_of)


def recorded(key: str) -> Layout:
    return decoded(next(entry for entry in RECORDED if entry["key"] == key))


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


def test_layouts_survive_the_network() -> None:
    for entry in RECORDED:
        layout = decoded(entry)
        assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


@pytest.mark.parametrize("key", ["_plprobe/bigparts", "_plprobe/large", "_plprobe/parts", "vp"])
def test_any_range_is_cut_out_of_the_whole(key: str) -> None:
    layout, chooser = recorded(key), random.Random(3)
    where = {}  # of a byte: the RADOS object and the offset in it, sampled
    for piece in layout.pieces():
        for at in {piece.offset, piece.offset + piece.bytes - 1, piece.offset + piece.bytes // 2}:
            where[at] = (piece.name, piece.within + at - piece.offset)
    assert where[0][1] == 0
    for _ in range(300):
        offset = chooser.randrange(layout.bytes)
        length = chooser.randrange(1, layout.bytes)
        pieces = layout.pieces(offset, length)
        assert pieces[0].offset == offset
        assert sum(piece.bytes for piece in pieces) == min(length, layout.bytes - offset)
        for piece, after in itertools.pairwise(pieces):
            assert piece.offset + piece.bytes == after.offset
        for at, place in where.items():
            for piece in pieces:
                if piece.offset <= at < piece.offset + piece.bytes:
                    assert (piece.name, piece.within + at - piece.offset) == place


def test_a_range_touches_exactly_its_stripes() -> None:
    layout = recorded("_plprobe/bigparts")  # parts of 70, 70 and 3 MiB, stripes of 64
    names = [piece.name for piece in layout.pieces()]
    assert [piece.name for piece in layout.pieces(0, 64 * MIB)] == names[:1]
    assert [piece.name for piece in layout.pieces(64 * MIB - 1, 2)] == names[:2]
    assert [piece.name for piece in layout.pieces(70 * MIB, 1)] == names[2:3]
    assert layout.pieces(70 * MIB - 1, 1)[0].within == 6 * MIB - 1
    assert layout.pieces(layout.bytes, 10) == []
    assert layout.pieces(5, 0) == []
    with pytest.raises(ValueError, match="offset -1"):
        layout.pieces(-1, 5)


@pytest.mark.parametrize("entry", RECORDED[:4], ids=lambda entry: entry["key"])
def test_a_truncated_manifest_is_refused_at_every_byte(entry: dict[str, Any]) -> None:
    whole = base64.b64decode(entry["manifest"])
    for end in range(len(whole)):
        with pytest.raises(MapError):
            decode(whole[:end], "", 7, pool_of)


def test_a_damaged_manifest_is_refused_or_read_and_nothing_else() -> None:
    chooser = random.Random(5)
    for entry in RECORDED:
        whole = base64.b64decode(entry["manifest"])
        for _ in range(400):
            damaged = bytearray(whole)
            for _ in range(chooser.randint(1, 3)):
                damaged[chooser.randrange(len(damaged))] = chooser.randrange(256)
            try:
                layout = decode(bytes(damaged), "", 7, pool_of)
                assert sum(piece.bytes for piece in layout.pieces(0, 10 * MIB)) == min(10 * MIB, layout.bytes)
            except MapError:
                continue


def test_a_pool_that_nobody_knows_leaves_the_object_unknown() -> None:
    whole = base64.b64decode(next(entry["manifest"] for entry in RECORDED if entry["key"] == "_plprobe/large"))
    with pytest.raises(MapError, match="no pool is known for placement rule 'default-placement'"):
        decode(whole, "", 7, lambda *_: None)


def test_a_later_manifest_that_this_program_cannot_read_is_refused() -> None:
    whole = bytearray(base64.b64decode(RECORDED[0]["manifest"]))
    whole[1] = 9
    with pytest.raises(MapError, match="RGWObjManifest is of version 8 \\(9 at least\\)"):
        decode(bytes(whole), "", 7, pool_of)


def plain(**changes: Any) -> dict[str, Any]:
    head = Piece(0, 4, 7, "m_k", "m_k")
    layout = Layout("e", 10, head, 4, 4, ".x_", "m", "", 7, rules=(Rule(0, 4, 0, 4),))
    return {**json.loads(json.dumps(layout.to_json())), **changes}


def rule(**changes: Any) -> dict[str, Any]:
    return {"part": 0, "start": 4, "part_bytes": 0, "stripe_bytes": 4, "prefix": "", **changes}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "not an object with etag"),
        (plain(bytes="10"), "not of type int"),
        (plain(bytes=True), "not of type int"),
        (plain(bytes=-1), "not a size"),
        (plain(head_bytes=11), "head_bytes is 11"),
        (plain(rules=[]), "no rule says where byte 4 lies"),
        (plain(rules=[rule(start=5)]), "no rule says where byte 4 lies"),
        (plain(rules=[rule(stripe_bytes=0)]), "cuts nothing up"),
        (plain(rules=[rule(), rule()]), "not behind the one before"),
        (plain(rules=[{"part": 0}]), "rules\\[0\\]"),
        (plain(head={}), "head is"),
        (plain(explicit=[Piece(1, 9, 7, "a", "a").__dict__]), "a piece begins at 1"),
        (plain(explicit=[Piece(0, 9, 7, "a", "a").__dict__]), "the pieces have 9 bytes"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(document: object, message: str) -> None:
    assert Layout.from_json(plain()).pieces(3, 2)[1].name == "m__shadow_.x_1"
    with pytest.raises(MapError, match=message):
        Layout.from_json(document)


def test_a_layout_of_endless_pieces_keeps_nobody_busy() -> None:
    layout = Layout.from_json(plain(bytes=2**60, rules=[rule(stripe_bytes=1)]))
    with pytest.raises(MapError, match=f"more than {MAX_PIECES} pieces"):
        layout.pieces()
