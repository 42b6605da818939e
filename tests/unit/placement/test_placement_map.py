"""The map: what it calculates, and what it refuses to be made of."""

import json
from collections.abc import Callable
from typing import Any

import ceph_reference
import pytest
from example_map import MARKER, document
from hypothesis import given
from hypothesis import strategies as st

from appliance.placement import MapError, PlacementMap, UnknownPlace

keys = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), max_size=30)


@given(keys)
def test_hosts_are_those_of_the_group_of_the_locators_hash(names: list[str]) -> None:
    cluster_map = PlacementMap.from_json(document())
    rows = [("store1", "store2"), ("store2", "store3"), ("store3", "store1")]
    expected = []
    for key in names:
        hashed = ceph_reference.str_hash_rjenkins(f"{MARKER}_{key}".encode())
        expected.append(rows[ceph_reference.stable_mod(hashed, 3)])
    assert cluster_map.hosts("alice", names) == expected


def test_nothing_is_guessed() -> None:
    cluster_map = PlacementMap.from_json(document())
    assert cluster_map.hosts("archive", ["a", "b"]) == [(), ()], "an erasure-coded pool has no host with a whole object"
    assert cluster_map.hosts("nobody", ["a"]) == [()]
    with pytest.raises(UnknownPlace, match=r"epoch 42 holds no bucket 'nobody'"):
        cluster_map.pgs("nobody", ["a"])


def test_a_group_without_osds_has_no_hosts_and_two_osds_on_a_host_are_one() -> None:
    cluster_map = PlacementMap.from_json(document())
    assert cluster_map.pg_hosts(cluster_map.pools[9]) == [(), ("store1",)]


def test_addresses() -> None:
    cluster_map = PlacementMap.from_json(document())
    assert cluster_map.address("store2") == "10.77.0.22"
    with pytest.raises(UnknownPlace, match="no storage host 'store9'"):
        cluster_map.address("store9")


def test_groups_are_named_as_ceph_names_them() -> None:
    assert PlacementMap.from_json(document()).pools[7].pgid(26) == "7.1a"


def test_json_there_and_back() -> None:
    cluster_map = PlacementMap.from_json(document())
    assert cluster_map.to_json() == document()
    assert PlacementMap.from_json(json.loads(json.dumps(cluster_map.to_json()))) == cluster_map


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
        PlacementMap.from_json(wrong)


@pytest.mark.parametrize("field", document())
def test_a_missing_field_is_named(field: str) -> None:
    wrong = document()
    del wrong[field]
    with pytest.raises(MapError, match=field):
        PlacementMap.from_json(wrong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_garbage_is_refused(garbage: object) -> None:
    with pytest.raises(MapError):
        PlacementMap.from_json(garbage)


@given(st.sampled_from(sorted(document())), json_values)
def test_garbage_in_any_field_is_refused_or_taken_for_what_it_says(field: str, garbage: object) -> None:
    changed = {**document(), field: garbage}
    try:
        taken = PlacementMap.from_json(changed)
    except MapError:
        return
    assert taken.to_json() == changed


def test_keys_of_a_bucket_that_keeps_versions_have_no_hosts() -> None:
    cluster_map = PlacementMap.from_json(document())
    assert cluster_map.hosts("lab/kept", ["a", "b"]) == [(), ()]
    assert cluster_map.hosts("lab:kept", ["a"]) == [()]
    assert cluster_map.pool_of("lab:kept").name == "data"
