"""The service from a cluster's recorded answers to a client, over a real loopback connection."""

import gzip
import json

import pytest
from clocks import Clock
from recorded_cluster import RecordedCluster
from served import Served

from appliance.placement import MapClient


def test_a_client_gets_the_map_of_the_recorded_cluster(running: Served, cluster: RecordedCluster) -> None:
    running.service.refresher.refresh()
    cluster_map = MapClient(running.url).get()
    assert cluster_map.epoch == cluster.read("mon_osd_dump")["epoch"]
    stats = cluster.read("gateway_buckets")
    assert set(cluster_map.buckets) == set(stats)
    for name, bucket in cluster_map.buckets.items():
        assert bucket.marker == stats[name]["marker"]
    assert set(cluster_map.addresses) == {"store1", "store2", "store3"}
    groups = {entry["pgid"]: entry for entry in cluster.read("mgr_pg_dump")["pg_stats"]}
    pool = cluster_map.pool_of("alice")
    for pg, row in enumerate(pool.acting.tolist()):
        recorded = groups[pool.pgid(pg)]
        assert row[0] == recorded["acting_primary"]
        assert set(row) == set(recorded["acting"])


def test_before_the_first_map_clients_are_told_why(running: Served) -> None:
    status, headers, body = running.request("/v1/map")
    assert (status, headers["Retry-After"]) == (503, "2")
    assert "no map yet" in json.loads(body)["error"]
    assert running.request("/healthz")[0] == 503


def test_an_unchanged_map_costs_no_body_and_gzip_is_given_where_asked_for(running: Served) -> None:
    running.service.refresher.refresh()
    _, headers, plain = running.request("/v1/map")
    status, _, body = running.request("/v1/map", headers={"If-None-Match": headers["Etag"]})
    assert (status, body) == (304, b"")
    status, zipped_headers, zipped = running.request("/v1/map", headers={"Accept-Encoding": "gzip"})
    assert zipped_headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped) == plain
    assert len(zipped) < len(plain) / 2


def test_a_new_bucket_is_found_when_somebody_asks_for_it(
    running: Served, cluster: RecordedCluster, clock: Clock
) -> None:
    running.service.refresher.refresh()
    _, headers, _ = running.request("/v1/map")
    stats = cluster.read("gateway_buckets")
    cluster.write("gateway_buckets", {**stats, "fresh": {**stats["alice"], "marker": "new.marker.1"}})
    clock.now += 3
    assert "fresh" not in MapClient(running.url).get().buckets
    assert MapClient(running.url).get("fresh").buckets["fresh"].marker == "new.marker.1"
    status, fresh, _ = running.request("/v1/map", headers={"If-None-Match": headers["Etag"]})
    assert status == 200, "a new bucket within the epoch is another map"
    assert fresh["Etag"] != headers["Etag"]


def test_a_name_that_is_no_buckets_is_not_looked_for_again_and_again(
    running: Served, cluster: RecordedCluster, clock: Clock
) -> None:
    running.service.refresher.refresh()
    clock.now += 3
    cluster.asked()
    for _ in range(5):
        assert running.request("/v1/map?bucket=nobody")[0] == 200
    assert cluster.asked() == ["gateway_nobody"]


FAULTS: list[tuple[str, str, str]] = [
    ("connect", "cannot connect: timed out", "no connection to the monitors: cannot connect: timed out"),
    ("mon_osd_stat", "access denied", "asked 'osd stat': access denied"),
    ("mon_osd_stat", "die", "no answer to 'osd stat': rados: connection lost"),
    ("mon_osd_stat", "silence", "no answer to 'osd stat' in 1 s"),
]


@pytest.mark.parametrize(("question", "fault", "message"), FAULTS, ids=[f"{q} {f}" for q, f, _ in FAULTS])
def test_a_cluster_that_fails_keeps_the_map_and_is_told_and_heals(
    running: Served, cluster: RecordedCluster, clock: Clock, question: str, fault: str, message: str
) -> None:
    refresher = running.service.refresher
    refresher.refresh()
    held = refresher.current()
    clock.now += 30
    options, patience = cluster.monitors.options, cluster.monitors.options.timeout
    # No shorter for those that answer: a busy machine may take longer than that.
    object.__setattr__(options, "timeout", 1 if fault == "silence" else patience)
    if question == "connect":
        cluster.monitors.close()
    cluster.fail(question, fault)
    refresher.refresh()
    assert refresher.current() is held
    assert message in (refresher.failure or "")
    assert running.request("/healthz")[0] == 200, "a moment's silence is forgiven"
    clock.now += 31
    status, _, body = running.request("/healthz")
    assert status == 503
    assert message in json.loads(body)["failure"]
    assert "appliance_placement_failures_total 1" in running.request("/metrics")[2].decode()
    cluster.fail(question, "")
    object.__setattr__(options, "timeout", patience)
    refresher.refresh()
    assert refresher.failure is None
    assert running.request("/healthz")[0] == 200
