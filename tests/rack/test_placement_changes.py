"""A cluster in change on the converged rack: every state that pools go through is placed as Ceph says.

The changes are made to pools of the test's own, since a pool with data would take long to become what it was before.
What reads the cluster's answers is what the service uses; only who asks differs.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

import pytest
from placement_rack import STORE, osd_map, ssh

from appliance.placement import PlacementMap
from appliance.placement.cluster import Table, make_table
from appliance.placement.errors import ClusterError
from appliance.placement.names import locator

PATIENCE = 60  # seconds that a change may take until all groups are where the map says


@pytest.fixture(scope="module")
def pool() -> Iterator[str]:
    name = f"placement-{uuid.uuid4().hex[:8]}"
    ssh(STORE, f"ceph osd pool create {name} 8 8 replicated --autoscale-mode=off && ceph osd pool set {name} size 2")
    yield name
    deleted(name)


def deleted(pool: str) -> None:
    """Remove a pool of the test's own."""
    ssh(
        STORE,
        "ceph config set mon mon_allow_pool_delete true && "
        f"ceph osd pool rm {pool} {pool} --yes-i-really-really-mean-it; "
        "ceph config rm mon mon_allow_pool_delete",
    )


def table(pool: str) -> Table:
    """Read the cluster as the service does, of one pool."""
    told = ssh(
        STORE,
        "ceph osd dump --format json; echo; ceph osd tree --format json; echo; ceph pg dump pgs_brief --format json",
    )
    answers = [json.loads(line) for line in told.splitlines() if line.startswith(("{", "["))]
    return make_table(*answers, {pool})


def names() -> list[str]:
    """Return names of every kind that RGW gives."""
    marker, version = "0f087fd9-e7f3.4258.2", "NA2IwyR8HaOFXdMPYxlXzDjD2oWiCv9"
    made = [locator(marker, f"{front}c/{number}") for front in ("", "_", "é") for number in range(100)]
    made += [locator(marker, f"k{number}", version) for number in range(100)]
    made += [locator(marker, f"k.2~x.{number}", namespace="multipart") for number in range(100)]
    return made + [locator(marker, f".r_{number}", version, "shadow") for number in range(100)]


def disagreement(pool: str, read: Table) -> str:
    """Return where calculation and cluster differ; empty where they agree for all names."""
    number = read.pool_named(pool)
    assert number is not None
    whole = PlacementMap(read.epoch, read.cluster, 1, read.osds, read.addresses, read.pools, {})
    placed = whole.hosts_of_names(number, names())
    for name, hosts, answer in zip(names(), placed, osd_map(pool, names()), strict=True):
        theirs = [read.osds[osd] for osd in answer["acting"]]
        if set(hosts) != set(theirs) or hosts[0] != read.osds[answer["acting_primary"]]:
            return f"{name}: {hosts} calculated, {answer['pgid']} {theirs} in epoch {answer['epoch']}"
    return ""


def agree(pool: str) -> Table:
    """Wait until the manager has heard of the last change, and calculation and cluster agree."""
    last = time.monotonic() + PATIENCE
    while True:
        read = complete(pool)
        found = disagreement(pool, read)
        if not found:
            return read
        assert time.monotonic() < last, found
        time.sleep(1)


def complete(pool: str) -> Table:
    """Read the cluster once the manager knows all of a pool's groups; until then the service keeps its last map."""
    last = time.monotonic() + PATIENCE
    while True:
        try:
            return table(pool)
        except ClusterError:
            if time.monotonic() > last:
                raise
            time.sleep(1)


def test_a_pool_whose_pg_num_is_no_power_of_two_and_grows(pool: str) -> None:
    agree(pool)
    ssh(STORE, f"ceph osd pool set {pool} pg_num 13")
    seen = set()
    last = time.monotonic() + PATIENCE
    while 13 not in seen:
        assert time.monotonic() < last, seen
        seen |= {found.pg_num for found in agree(pool).pools.values()}


def test_groups_that_are_mapped_elsewhere_by_upmap(pool: str) -> None:
    read = agree(pool)
    found = next(iter(read.pools.values()))
    first, second = found.acting[0].tolist()
    other = next(osd for osd in read.osds if osd not in (first, second))
    ssh(STORE, f"ceph osd pg-upmap-items {found.pgid(0)} {second} {other}")
    try:
        last = time.monotonic() + PATIENCE
        while set(agree(pool).pools[found.id].acting[0].tolist()) != {first, other}:
            assert time.monotonic() < last, "the upmap takes no effect"
    finally:
        ssh(STORE, f"ceph osd rm-pg-upmap-items {found.pgid(0)}")


def test_a_disk_that_others_are_preferred_to_as_primary(pool: str) -> None:
    ssh(STORE, "ceph osd primary-affinity osd.0 0")
    try:
        last = time.monotonic() + PATIENCE
        while 0 in next(iter(agree(pool).pools.values())).acting[:, 0]:
            assert time.monotonic() < last, "osd.0 is still primary"
    finally:
        ssh(STORE, "ceph osd primary-affinity osd.0 1")


def test_a_disk_taken_out_while_its_data_still_lie_there(pool: str) -> None:
    # Nothing is moved meanwhile, so the real pools' groups keep acting sets that differ from their up sets.
    data = "default.rgw.buckets.data"
    ssh(STORE, "ceph osd set nobackfill && ceph osd out 2")
    try:
        agree(pool)
        agree(data)
        groups = json.loads(ssh(STORE, "ceph pg dump pgs_brief --format json"))["pg_stats"]
        assert any(group["acting"] != group["up"] for group in groups)
    finally:
        ssh(STORE, "ceph osd in 2 && ceph osd unset nobackfill")
    agree(pool)
    agree(data)


def test_an_erasure_coded_pool_tells_its_k_and_names_no_hosts() -> None:
    name = f"placement-ec-{uuid.uuid4().hex[:8]}"
    ssh(
        STORE,
        f"ceph osd erasure-code-profile set {name} k=2 m=1 crush-failure-domain=host && "
        f"ceph osd pool create {name} 4 4 erasure {name} --autoscale-mode=off",
    )
    try:
        read = complete(name)
        found = next(iter(read.pools.values()))
        assert (found.erasure, found.data_shards, found.pg_num) == (True, 2, 4)
        whole = PlacementMap(read.epoch, read.cluster, 1, read.osds, read.addresses, read.pools, {})
        assert whole.hosts_of_names(found.id, ["a"]) == [()]
    finally:
        rules = json.loads(ssh(STORE, f"ceph osd pool get {name} crush_rule --format json"))["crush_rule"]
        deleted(name)
        ssh(STORE, f"ceph osd erasure-code-profile rm {name}; ceph osd crush rule rm {rules}")
