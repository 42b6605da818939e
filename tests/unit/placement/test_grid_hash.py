"""Chunks of whole arrays, against the same keys written out and hashed one by one."""

import itertools
import tracemalloc

import ceph_reference
import numpy as np
import pytest
from example_map import document
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.placement.model.grid_hash import boxes, hash_box
from appliance.placement.model.map_json import decode_map

prefixes = st.text(max_size=40)
axes = st.tuples(st.integers(0, 1200), st.integers(1, 15)).map(lambda pair: range(pair[0], pair[0] + pair[1]))


@settings(deadline=None)
@given(prefixes, st.lists(axes, min_size=1, max_size=3), st.sampled_from(["/", ".", "", "--"]))
def test_a_box_is_hashed_as_its_keys_are(prefix: str, box: list[range], separator: str) -> None:
    hashes = hash_box(prefix.encode(), box, separator.encode())
    assert hashes.shape == tuple(len(axis) for axis in box)
    places = list(itertools.product(*box))
    for at in {0, len(places) // 3, len(places) // 2, len(places) - 1}:
        key = prefix + separator.join(map(str, places[at]))
        assert int(hashes.ravel()[at]) == ceph_reference.str_hash_rjenkins(key.encode()), key


@settings(deadline=None)
@given(st.lists(st.integers(0, 11), min_size=1, max_size=3), st.integers(1, 50))
def test_boxes_make_up_the_grid_in_order(shape: list[int], most: int) -> None:
    found = [place for box in boxes(shape, most) for place in itertools.product(*box)]
    assert found == list(itertools.product(*(range(length) for length in shape)))
    for box in boxes(shape, most):
        assert np.prod([len(axis) for axis in box]) <= most


@pytest.mark.parametrize("prefix", ["era5/sst/c/", "_era5/", "Höhe/", ""])
def test_a_grid_is_placed_as_its_keys_are(prefix: str) -> None:
    cluster_map, shape = decode_map(document()), (3, 120, 25)
    keys = [prefix + "/".join(map(str, place)) for place in np.ndindex(*shape)]
    pgs = np.concatenate(list(cluster_map.pgs_of_grid("alice", prefix, shape)))
    assert np.array_equal(pgs, cluster_map.pgs("alice", keys))
    hosts = list(itertools.chain.from_iterable(cluster_map.hosts_of_grid("alice", prefix, shape)))
    assert hosts == cluster_map.hosts("alice", keys)


@pytest.mark.parametrize("bucket", ["archive", "lab/kept", "nobody's"])
def test_chunks_of_which_nothing_is_known_have_no_hosts(bucket: str) -> None:
    cluster_map = decode_map(document())
    found = list(itertools.chain.from_iterable(cluster_map.hosts_of_grid(bucket, "c/", (300, 400))))
    assert found == [()] * 120_000


@pytest.mark.parametrize("shape", [(), (3, -1)])
def test_a_shape_that_is_none_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one axis or more"):
        next(decode_map(document()).pgs_of_grid("alice", "c/", shape))


def test_memory_does_not_grow_with_the_array() -> None:
    cluster_map = decode_map(document())
    tracemalloc.start()
    try:
        for pgs in itertools.islice(cluster_map.pgs_of_grid("alice", "c/", (10**6, 10, 10)), 20):
            assert len(pgs) <= 2**16
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20, "for the first million of 10^8 keys"
    finally:
        tracemalloc.stop()
