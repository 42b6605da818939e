"""Layouts as documents, and what they refuse to be made of."""

import json
from typing import Any

import pytest
from recorded_objects import RECORDED, decoded

from appliance.placement import MapError
from appliance.placement.model.layout_json import decode_layout, encode_layout
from appliance.placement.model.object_layout import MAX_PIECES, Layout, Piece, Rule


def test_layouts_survive_the_network() -> None:
    for entry in RECORDED:
        layout = decoded(entry)
        assert decode_layout(json.loads(json.dumps(encode_layout(layout)))) == layout


def plain(**changes: Any) -> dict[str, Any]:
    head = Piece(0, 4, 7, "m_k", "m_k")
    layout = Layout("e", 10, head, 4, 4, ".x_", "m", "", 7, rules=(Rule(0, 4, 0, 4),))
    return {**json.loads(json.dumps(encode_layout(layout))), **changes}


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
    assert decode_layout(plain()).pieces(3, 2)[1].name == "m__shadow_.x_1"
    with pytest.raises(MapError, match=message):
        decode_layout(document)


def test_a_layout_of_endless_pieces_keeps_nobody_busy() -> None:
    layout = decode_layout(plain(bytes=2**60, rules=[rule(stripe_bytes=1)]))
    with pytest.raises(MapError, match=f"more than {MAX_PIECES} pieces"):
        layout.pieces()
