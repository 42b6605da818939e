"""The arithmetic of ranges, on objects of a real gateway."""

import itertools
import random

import pytest
from recorded_objects import MIB, RECORDED, decoded

from appliance.placement.model.object_layout import Layout


def recorded(key: str) -> Layout:
    return decoded(next(entry for entry in RECORDED if entry["key"] == key))


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
