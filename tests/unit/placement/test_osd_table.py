"""What is made of the monitors' and the manager's answers."""

from collections.abc import Callable

import pytest
from recorded_cluster import RecordedCluster

from appliance.placement.service.map_refresher import MapRefresher


def _lose_groups(cluster: RecordedCluster) -> None:
    groups = cluster.read("mgr_pg_dump")
    cluster.write("mgr_pg_dump", {**groups, "pg_stats": groups["pg_stats"][:1]})


def _no_groups(cluster: RecordedCluster) -> None:
    cluster.write("mgr_pg_dump", {})


def _other_hash(cluster: RecordedCluster) -> None:
    dump = cluster.read("mon_osd_dump")
    for pool in dump["pools"]:
        pool["object_hash"] = 1
    cluster.write("mon_osd_dump", dump)


def _nonsense(cluster: RecordedCluster) -> None:
    (cluster.folder / "mon_osd_tree.json").write_text("Segmentation fault")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_lose_groups, "the manager knows"),
        (_no_groups, "not understood: KeyError: 'pg_stats'"),
        (_other_hash, "only rjenkins"),
        (_nonsense, "the answer to 'osd tree' is no JSON"),
    ],
)
def test_half_a_picture_is_no_map(
    refresher: MapRefresher, cluster: RecordedCluster, spoil: Callable[[RecordedCluster], None], message: str
) -> None:
    spoil(cluster)
    refresher.refresh()
    assert refresher.encoded is None
    assert message in (refresher.failure or "")


def test_an_erasure_coded_pool_is_told_as_such(refresher: MapRefresher, cluster: RecordedCluster) -> None:
    dump = cluster.read("mon_osd_dump")
    for pool in dump["pools"]:
        pool.update(type=3, erasure_code_profile="default")
    cluster.write("mon_osd_dump", dump)
    refresher.refresh()
    cluster_map = refresher.current().map
    assert cluster_map.pool_of("alice").erasure
    assert cluster_map.pool_of("alice").data_shards == 2, "the default profile's k"
    assert cluster_map.hosts("alice", ["x"]) == [()]
