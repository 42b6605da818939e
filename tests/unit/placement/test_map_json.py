"""The map as a document, and what it refuses to be made of."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from example_map import document
from hypothesis import given
from hypothesis import strategies as st

from appliance.placement import MapError
from appliance.placement.model.map_json import decode_map, encode_map


def test_json_there_and_back() -> None:
    cluster_map = decode_map(document())
    assert encode_map(cluster_map) == document()
    assert decode_map(json.loads(json.dumps(encode_map(cluster_map)))) == cluster_map


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change that puts the last of ``path`` at the place that the others name."""

    def change(target: Any) -> None:
        *steps, last, value = path
        for step in steps:
            target = target[step]
        target[last] = value

    return change


WRONG = [
    (_set("format", "appliance.placement/9"), "format is 'appliance.placement/9'"),
    (_set("epoch", "42"), "epoch is '42', not a whole number"),
    (_set("epoch", True), "epoch is True"),
    (_set("epoch", 0), "epoch is 0"),
    (_set("cluster", ""), "cluster is ''"),
    (_set("chunk_bytes", None), "chunk_bytes is missing"),
    (_set("hosts", []), "hosts is .*, not an object"),
    (_set("hosts", "store1", "store1.example"), r"hosts\['store1'\] is 'store1.example', not an IP address"),
    (_set("osds", "0", "store9"), r"osds\[0\] is 'store9', which hosts does not hold"),
    (_set("osds", "x", "store1"), "'x' is no OSD's number"),
    (_set("pools", {}), "pools is {}, not a list"),
    (_set("pools", 1, "id", 7), r"pools\[1\]: pool 7 is there twice"),
    (_set("pools", 0, "type", "paper"), r"pools\[0\].type is 'paper'"),
    (_set("pools", 0, "pg_num", 4), r"pools\[0\].acting is 3 rows, not one row for each of the pool's 4"),
    (_set("pools", 0, "pg_num", 2**31), r"pools\[0\].pg_num is 2147483648"),
    (_set("pools", 0, "acting", None), r"pools\[0\].acting is missing"),
    (_set("pools", 0, "acting", 1, [1]), r"pools\[0\].acting\[1\] is \[1\]"),
    (_set("pools", 0, "acting", 0, []), r"pools\[0\].acting\[0\] is \[\]"),
    (_set("pools", 0, "acting", 2, [2, 99]), r"pools\[0\].acting\[2\] names OSD 99"),
    (_set("pools", 0, "acting", 2, [2, "0"]), r"pools\[0\].acting\[2\] names OSD '0'"),
    (_set("buckets", "alice", "pool", 70), r"buckets\['alice'\].pool is 70, which pools does not hold"),
    (_set("buckets", "alice", "marker", 5), r"buckets\['alice'\].marker is 5, not a text"),
    (_set("buckets", "alice", "alice"), r"buckets\['alice'\] is 'alice', not an object"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_document_is_refused_by_the_place(change: Callable[[dict[str, Any]], None], message: str) -> None:
    wrong = document()
    change(wrong)
    with pytest.raises(MapError, match=message):
        decode_map(wrong)


@pytest.mark.parametrize("field", document())
def test_a_missing_field_is_named(field: str) -> None:
    wrong = document()
    del wrong[field]
    with pytest.raises(MapError, match=field):
        decode_map(wrong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_garbage_is_refused(garbage: object) -> None:
    with pytest.raises(MapError):
        decode_map(garbage)


@given(st.sampled_from(sorted(document())), json_values)
def test_garbage_in_any_field_is_refused_or_taken_for_what_it_says(field: str, garbage: object) -> None:
    changed = {**document(), field: garbage}
    try:
        taken = decode_map(changed)
    except MapError:
        return
    assert encode_map(taken) == changed
