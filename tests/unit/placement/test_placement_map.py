"""What the map calculates."""

import ceph_reference
import pytest
from example_map import MARKER, document
from hypothesis import given
from hypothesis import strategies as st

from appliance.placement import UnknownPlace
from appliance.placement.model.map_json import decode_map

keys = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), max_size=30)


@given(keys)
def test_hosts_are_those_of_the_group_of_the_locators_hash(names: list[str]) -> None:
    cluster_map = decode_map(document())
    rows = [("store1", "store2"), ("store2", "store3"), ("store3", "store1")]
    expected = []
    for key in names:
        hashed = ceph_reference.str_hash_rjenkins(f"{MARKER}_{key}".encode())
        expected.append(rows[ceph_reference.stable_mod(hashed, 3)])
    assert cluster_map.hosts("alice", names) == expected


def test_nothing_is_guessed() -> None:
    cluster_map = decode_map(document())
    assert cluster_map.hosts("archive", ["a", "b"]) == [(), ()], "an erasure-coded pool has no host with a whole object"
    assert cluster_map.hosts("nobody", ["a"]) == [()]
    with pytest.raises(UnknownPlace, match=r"epoch 42 holds no bucket 'nobody'"):
        cluster_map.pgs("nobody", ["a"])


def test_a_group_without_osds_has_no_hosts_and_two_osds_on_a_host_are_one() -> None:
    cluster_map = decode_map(document())
    assert cluster_map.pg_hosts(cluster_map.pools[9]) == [(), ("store1",)]


def test_addresses() -> None:
    cluster_map = decode_map(document())
    assert cluster_map.address("store2") == "10.77.0.22"
    with pytest.raises(UnknownPlace, match="no storage host 'store9'"):
        cluster_map.address("store9")


def test_groups_are_named_as_ceph_names_them() -> None:
    assert decode_map(document()).pools[7].pgid(26) == "7.1a"


def test_keys_of_a_bucket_that_keeps_versions_have_no_hosts() -> None:
    cluster_map = decode_map(document())
    assert cluster_map.hosts("lab/kept", ["a", "b"]) == [(), ()]
    assert cluster_map.hosts("lab:kept", ["a"]) == [()]
    assert cluster_map.pool_of("lab:kept").name == "data"
