"""A cluster in change on the converged rack: every state that pools go through is placed as Ceph says.

The changes are made to pools of the test's own, since a pool with data would take long to become what it was before.
What reads the cluster's answers is what the service uses; only who asks differs.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from machines import ask, until
from placement_rack import STORE, epoch_at_rest, osd_map

from appliance.placement import PlacementMap
from appliance.placement.errors import ClusterError
from appliance.placement.model.rados_names import locator
from appliance.placement.service.osd_table import OsdTable, make_osd_table


@pytest.fixture(scope="module")
def pool() -> Iterator[str]:
    name = f"placement-{uuid.uuid4().hex[:8]}"
    ask(STORE, f"ceph osd pool create {name} 8 8 replicated --autoscale-mode=off && ceph osd pool set {name} size 2")
    yield name
    deleted(name)
    until(epoch_at_rest)


def deleted(pool: str) -> None:
    """Remove a pool of the test's own."""
    ask(
        STORE,
        "ceph config set mon mon_allow_pool_delete true && "
        f"ceph osd pool rm {pool} {pool} --yes-i-really-really-mean-it; "
        "ceph config rm mon mon_allow_pool_delete",
    )


def table(pool: str) -> OsdTable:
    """Read the cluster as the service does, of one pool."""
    told = ask(
        STORE,
        "ceph osd dump --format json; echo; ceph osd tree --format json; echo; ceph pg dump pgs_brief --format json",
    )
    answers = [json.loads(line) for line in told.splitlines() if line.startswith(("{", "["))]
    return make_osd_table(*answers, {pool})


def names() -> list[str]:
    """Return names of every kind that RGW gives."""
    marker, version = "0f087fd9-e7f3.4258.2", "NA2IwyR8HaOFXdMPYxlXzDjD2oWiCv9"
    made = [locator(marker, f"{front}c/{number}") for front in ("", "_", "é") for number in range(100)]
    made += [locator(marker, f"k{number}", version) for number in range(100)]
    made += [locator(marker, f"k.2~x.{number}", namespace="multipart") for number in range(100)]
    return made + [locator(marker, f".r_{number}", version, "shadow") for number in range(100)]


def disagreement(pool: str, read: OsdTable) -> str:
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


def agree(pool: str) -> OsdTable:
    """Wait until the manager has heard of the last change, and calculation and cluster agree."""

    def agreed() -> OsdTable | None:
        read = complete(pool)
        return None if disagreement(pool, read) else read

    return until(agreed, lambda: disagreement(pool, complete(pool)))


def complete(pool: str) -> OsdTable:
    """Read the cluster once the manager knows all of a pool's groups; until then the service keeps its last map."""

    def told() -> OsdTable | None:
        try:
            return table(pool)
        except ClusterError:
            return None

    return until(told)


def test_a_pool_whose_pg_num_is_no_power_of_two_and_grows(pool: str) -> None:
    agree(pool)
    ask(STORE, f"ceph osd pool set {pool} pg_num 13")
    seen: set[int] = set()

    def grown() -> bool:
        seen.update(found.pg_num for found in agree(pool).pools.values())
        return 13 in seen

    until(grown, lambda: seen)


def test_groups_that_are_mapped_elsewhere_by_upmap(pool: str) -> None:
    read = agree(pool)
    found = next(iter(read.pools.values()))
    first, second = found.acting[0].tolist()
    other = next(osd for osd in read.osds if osd not in (first, second))
    ask(STORE, f"ceph osd pg-upmap-items {found.pgid(0)} {second} {other}")
    try:
        until(lambda: set(agree(pool).pools[found.id].acting[0].tolist()) == {first, other})
    finally:
        ask(STORE, f"ceph osd rm-pg-upmap-items {found.pgid(0)}")


def test_a_disk_that_others_are_preferred_to_as_primary(pool: str) -> None:
    ask(STORE, "ceph osd primary-affinity osd.0 0")
    try:
        until(lambda: 0 not in next(iter(agree(pool).pools.values())).acting[:, 0])
    finally:
        ask(STORE, "ceph osd primary-affinity osd.0 1")


def test_a_disk_taken_out_while_its_data_still_lie_there(pool: str) -> None:
    # Nothing is moved meanwhile, so the real pools' groups keep acting sets that differ from their up sets.
    data = "default.rgw.buckets.data"
    ask(STORE, "ceph osd set nobackfill && ceph osd out 2")
    try:
        agree(pool)
        agree(data)
        groups = json.loads(ask(STORE, "ceph pg dump pgs_brief --format json"))["pg_stats"]
        assert any(group["acting"] != group["up"] for group in groups)
    finally:
        ask(STORE, "ceph osd in 2 && ceph osd unset nobackfill")
    agree(pool)
    agree(data)


def test_an_erasure_coded_pool_tells_its_k_and_names_no_hosts() -> None:
    name = f"placement-ec-{uuid.uuid4().hex[:8]}"
    ask(
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
        rules = json.loads(ask(STORE, f"ceph osd pool get {name} crush_rule --format json"))["crush_rule"]
        deleted(name)
        ask(STORE, f"ceph osd erasure-code-profile rm {name}; ceph osd crush rule rm {rules}")
