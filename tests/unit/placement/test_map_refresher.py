"""What the service reads of a cluster's recorded answers, and when."""

import pytest
from clocks import Clock
from recorded_cluster import CHUNK, RecordedCluster

from appliance.placement.service.map_refresher import Intervals, MapRefresher


def test_a_quiet_cluster_is_asked_for_its_epoch_only(
    refresher: MapRefresher, cluster: RecordedCluster, clock: Clock
) -> None:
    refresher.refresh()
    before = refresher.current()
    clock.now += 20
    refresher.refresh()
    cluster.asked()
    clock.now += 3
    refresher.refresh()
    assert cluster.asked() == ["mon_osd_stat"]
    assert refresher.current() is before, "nothing is encoded again that did not change"


def test_after_a_new_epoch_the_groups_are_read_until_they_have_settled(
    refresher: MapRefresher, cluster: RecordedCluster, clock: Clock
) -> None:
    refresher.refresh()
    clock.now += 20
    dump, stat, groups = (cluster.read(name) for name in ("mon_osd_dump", "mon_osd_stat", "mgr_pg_dump"))
    cluster.write("mon_osd_dump", {**dump, "epoch": dump["epoch"] + 1})
    cluster.write("mon_osd_stat", {**stat, "epoch": dump["epoch"] + 1})
    refresher.refresh()
    assert refresher.current().map.epoch == dump["epoch"] + 1
    # The manager hears of the groups' new places some seconds after the monitors have the new epoch.
    for group in groups["pg_stats"]:
        group["acting"] = [osd for osd in group["acting"] if osd != 0]
        group["acting_primary"] = group["acting"][0] if group["acting"] else -1
    cluster.write("mgr_pg_dump", groups)
    clock.now += 3
    refresher.refresh()
    held = refresher.current().map.pool_of("alice").acting
    assert 0 not in held


def test_a_gateway_that_fails_keeps_nobody_from_seeing_moved_groups(
    refresher: MapRefresher, cluster: RecordedCluster, clock: Clock
) -> None:
    refresher.refresh()
    buckets = refresher.current().map.buckets
    cluster.fail("gateway", "AccessDenied")
    dump, stat = cluster.read("mon_osd_dump"), cluster.read("mon_osd_stat")
    cluster.write("mon_osd_dump", {**dump, "epoch": dump["epoch"] + 5})
    cluster.write("mon_osd_stat", {**stat, "epoch": dump["epoch"] + 5})
    clock.now += 60
    refresher.refresh()
    assert refresher.current().map.epoch == dump["epoch"] + 5
    assert refresher.current().map.buckets == buckets
    assert f"the gateway at {cluster.rgw.endpoint} answered 403 AccessDenied" == refresher.failure


def test_a_bucket_made_anew_has_its_new_marker_soon(
    refresher: MapRefresher, cluster: RecordedCluster, clock: Clock
) -> None:
    refresher.refresh()
    stats = cluster.read("gateway_buckets")
    cluster.write("gateway_buckets", {"alice": {**stats["alice"], "marker": "new.marker.2"}})
    clock.now += 60
    refresher.refresh()
    buckets = refresher.current().map.buckets
    assert buckets["alice"].marker == "new.marker.2"
    assert "bob" not in buckets, "a bucket that is gone is forgotten"


def test_many_buckets_are_confirmed_by_turns(cluster: RecordedCluster, clock: Clock) -> None:
    refresher = MapRefresher(cluster.monitors, cluster.rgw, CHUNK, Intervals(buckets=60, confirm=2), clock)
    record = cluster.read("gateway_buckets")["alice"]
    cluster.write("gateway_buckets", dict.fromkeys("abcde", record))
    refresher.refresh()
    cluster.asked()
    turns = []
    for _ in range(5):
        clock.now += 60
        refresher.refresh()
        turns.append([name for name in cluster.asked() if len(name) == len("gateway_x")])
    assert sorted(name for turn in turns for name in turn) == sorted(2 * [f"gateway_{name}" for name in "abcde"])


def test_tenants_buckets_are_found_by_either_name_and_unknown_rules_are_left_out(
    refresher: MapRefresher, cluster: RecordedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    record = cluster.read("gateway_buckets")["alice"]
    others = {
        "lab/shared": {**record, "tenant": "lab", "versioning": "suspended", "marker": "lab.1"},
        "other/shared": {**record, "tenant": "", "marker": "somebody else's"},
        "cold": {**record, "placement_rule": "default-placement/GLACIER"},
    }
    cluster.write("gateway_buckets", {"alice": record, **others})
    refresher.refresh()
    buckets = refresher.current().map.buckets
    assert set(buckets) == {"alice", "lab/shared"}
    assert buckets["lab/shared"].marker == "lab.1"
    assert [bucket.versioned for bucket in buckets.values()] == [False, True]
    assert refresher.holds("lab:shared")
    refresher.look_up("cold")
    assert not refresher.holds("cold"), "asked for by name it stays out too"
    assert "'default-placement/GLACIER'; run playbooks/placement.yml" in caplog.text
