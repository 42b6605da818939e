"""The service from a cluster's recorded answers to a client, over a real loopback connection."""

import asyncio
import gzip
import http.client
import json
import socket
import threading
import venv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gateway_users import Everyone
from recorded_cluster import DATA_POOLS, RecordedCluster

from appliance.placement import MapClient
from appliance.placement.buckets import Gateway
from appliance.placement.cluster import Access, Monitors
from appliance.placement.errors import ClusterError
from appliance.placement.keeper import Keeper, Pace
from appliance.placement.layouts import Layouts, Reader
from appliance.placement.service import Service
from appliance.placement.signature import Keys, signed

CHUNK = 64 * 2**20


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RecordedCluster]:
    recorded = RecordedCluster(tmp_path)
    yield recorded
    recorded.close()


@pytest.fixture
def keeper(cluster: RecordedCluster, clock: Clock) -> Keeper:
    return Keeper(cluster.monitors, cluster.gateway, CHUNK, Pace(settle=20, buckets=60, absent=3), clock)


class Running:
    """A service on a free port, with its event loop in a thread."""

    def __init__(self, service: Service) -> None:
        self.service = service
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def start() -> None:
            self.server = service.application().listen(self.port, "127.0.0.1")
            ready.set()

        def run() -> None:
            self.loop.run_until_complete(start())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        ready.wait()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer, whatever its status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    def stop(self) -> None:
        """End it."""
        self.loop.call_soon_threadsafe(self.server.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.service.close()


@pytest.fixture
def running(keeper: Keeper, tmp_path: Path) -> Iterator[Running]:
    server = Running(Service(keeper, Layouts(Reader(tmp_path / "socket"), DATA_POOLS), Everyone(), stale_after=60))
    yield server
    server.stop()


def test_a_client_gets_the_map_of_the_recorded_cluster(running: Running, cluster: RecordedCluster) -> None:
    running.service.keeper.refresh()
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


def test_before_the_first_map_clients_are_told_why(running: Running) -> None:
    status, headers, body = running.get("/v1/map")
    assert (status, headers["Retry-After"]) == (503, "2")
    assert "no map yet" in json.loads(body)["error"]
    assert running.get("/healthz")[0] == 503


def test_an_unchanged_map_costs_no_body_and_gzip_is_given_where_asked_for(running: Running) -> None:
    running.service.keeper.refresh()
    _, headers, plain = running.get("/v1/map")
    status, _, body = running.get("/v1/map", **{"If-None-Match": headers["Etag"]})
    assert (status, body) == (304, b"")
    status, zipped_headers, zipped = running.get("/v1/map", **{"Accept-Encoding": "gzip"})
    assert zipped_headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped) == plain
    assert len(zipped) < len(plain) / 2


def test_a_new_bucket_is_found_when_somebody_asks_for_it(
    running: Running, cluster: RecordedCluster, clock: Clock
) -> None:
    running.service.keeper.refresh()
    _, headers, _ = running.get("/v1/map")
    stats = cluster.read("gateway_buckets")
    cluster.write("gateway_buckets", {**stats, "fresh": {**stats["alice"], "marker": "new.marker.1"}})
    clock.now += 3
    assert "fresh" not in MapClient(running.url).get().buckets
    assert MapClient(running.url).get("fresh").buckets["fresh"].marker == "new.marker.1"
    status, fresh, _ = running.get("/v1/map", **{"If-None-Match": headers["Etag"]})
    assert status == 200, "a new bucket within the epoch is another map"
    assert fresh["Etag"] != headers["Etag"]


def test_a_name_that_is_no_buckets_is_not_looked_for_again_and_again(
    running: Running, cluster: RecordedCluster, clock: Clock
) -> None:
    running.service.keeper.refresh()
    clock.now += 3
    cluster.asked()
    for _ in range(5):
        assert running.get("/v1/map?bucket=nobody")[0] == 200
    assert cluster.asked() == ["gateway_nobody"]


def test_a_quiet_cluster_is_asked_for_its_epoch_only(keeper: Keeper, cluster: RecordedCluster, clock: Clock) -> None:
    keeper.refresh()
    before = keeper.current()
    clock.now += 20
    keeper.refresh()
    cluster.asked()
    clock.now += 3
    keeper.refresh()
    assert cluster.asked() == ["mon_osd_stat"]
    assert keeper.current() is before, "nothing is packed again that did not change"


def test_after_a_new_epoch_the_groups_are_read_until_they_have_settled(
    keeper: Keeper, cluster: RecordedCluster, clock: Clock
) -> None:
    keeper.refresh()
    clock.now += 20
    dump, stat, groups = (cluster.read(name) for name in ("mon_osd_dump", "mon_osd_stat", "mgr_pg_dump"))
    cluster.write("mon_osd_dump", {**dump, "epoch": dump["epoch"] + 1})
    cluster.write("mon_osd_stat", {**stat, "epoch": dump["epoch"] + 1})
    keeper.refresh()
    assert keeper.current().map.epoch == dump["epoch"] + 1
    # The manager hears of the groups' new places some seconds after the monitors have the new epoch.
    for group in groups["pg_stats"]:
        group["acting"] = [osd for osd in group["acting"] if osd != 0]
        group["acting_primary"] = group["acting"][0] if group["acting"] else -1
    cluster.write("mgr_pg_dump", groups)
    clock.now += 3
    keeper.refresh()
    held = keeper.current().map.pool_of("alice").acting
    assert 0 not in held


FAULTS: list[tuple[str, str, str]] = [
    ("connect", "cannot connect: timed out", "no connection to the monitors: cannot connect: timed out"),
    ("mon_osd_stat", "access denied", "asked 'osd stat': access denied"),
    ("mon_osd_stat", "die", "no answer to 'osd stat': rados: connection lost"),
    ("mon_osd_stat", "silence", "no answer to 'osd stat' in 1 s"),
]


@pytest.mark.parametrize(("question", "fault", "message"), FAULTS, ids=[f"{q} {f}" for q, f, _ in FAULTS])
def test_a_cluster_that_fails_keeps_the_map_and_is_told_and_heals(
    running: Running, cluster: RecordedCluster, clock: Clock, question: str, fault: str, message: str
) -> None:
    keeper = running.service.keeper
    keeper.refresh()
    held = keeper.current()
    clock.now += 30
    object.__setattr__(cluster.monitors.access, "timeout", 1)
    if question == "connect":
        cluster.monitors.close()
    cluster.fail(question, fault)
    keeper.refresh()
    assert keeper.current() is held
    assert message in (keeper.failure or "")
    assert running.get("/healthz")[0] == 200, "a moment's silence is forgiven"
    clock.now += 31
    status, _, body = running.get("/healthz")
    assert status == 503
    assert message in json.loads(body)["failure"]
    assert "appliance_placement_failures_total 1" in running.get("/metrics")[2].decode()
    cluster.fail(question, "")
    keeper.refresh()
    assert keeper.failure is None
    assert running.get("/healthz")[0] == 200


def test_a_gateway_that_fails_keeps_nobody_from_seeing_moved_groups(
    keeper: Keeper, cluster: RecordedCluster, clock: Clock
) -> None:
    keeper.refresh()
    buckets = keeper.current().map.buckets
    cluster.fail("gateway", "AccessDenied")
    dump, stat = cluster.read("mon_osd_dump"), cluster.read("mon_osd_stat")
    cluster.write("mon_osd_dump", {**dump, "epoch": dump["epoch"] + 5})
    cluster.write("mon_osd_stat", {**stat, "epoch": dump["epoch"] + 5})
    clock.now += 60
    keeper.refresh()
    assert keeper.current().map.epoch == dump["epoch"] + 5
    assert keeper.current().map.buckets == buckets
    assert f"the gateway at {cluster.gateway.endpoint} answered 403 AccessDenied" == keeper.failure


def test_a_gateway_that_is_not_there_is_named(keeper: Keeper, cluster: RecordedCluster) -> None:
    keeper.gateway = Gateway("http://127.0.0.1:9", cluster.gateway.keys, cluster.gateway.data_pools)
    keeper.refresh()
    assert keeper.failure == "the gateway at http://127.0.0.1:9 does not answer: [Errno 111] Connection refused"
    assert keeper.current().map.buckets == {}


def test_a_bucket_made_anew_has_its_new_marker_soon(keeper: Keeper, cluster: RecordedCluster, clock: Clock) -> None:
    keeper.refresh()
    stats = cluster.read("gateway_buckets")
    cluster.write("gateway_buckets", {"alice": {**stats["alice"], "marker": "new.marker.2"}})
    clock.now += 60
    keeper.refresh()
    buckets = keeper.current().map.buckets
    assert buckets["alice"].marker == "new.marker.2"
    assert "bob" not in buckets, "a bucket that is gone is forgotten"


def test_many_buckets_are_confirmed_by_turns(cluster: RecordedCluster, clock: Clock) -> None:
    keeper = Keeper(cluster.monitors, cluster.gateway, CHUNK, Pace(buckets=60, confirm=2), clock)
    record = cluster.read("gateway_buckets")["alice"]
    cluster.write("gateway_buckets", dict.fromkeys("abcde", record))
    keeper.refresh()
    cluster.asked()
    turns = []
    for _ in range(5):
        clock.now += 60
        keeper.refresh()
        turns.append([name for name in cluster.asked() if len(name) == len("gateway_x")])
    assert sorted(name for turn in turns for name in turn) == sorted(2 * [f"gateway_{name}" for name in "abcde"])


def test_tenants_buckets_are_found_by_either_name_and_unknown_rules_are_left_out(
    keeper: Keeper, cluster: RecordedCluster, caplog: pytest.LogCaptureFixture
) -> None:
    record = cluster.read("gateway_buckets")["alice"]
    others = {
        "lab/shared": {**record, "tenant": "lab", "versioning": "suspended", "marker": "lab.1"},
        "other/shared": {**record, "tenant": "", "marker": "somebody else's"},
        "cold": {**record, "placement_rule": "default-placement/GLACIER"},
    }
    cluster.write("gateway_buckets", {"alice": record, **others})
    keeper.refresh()
    buckets = keeper.current().map.buckets
    assert set(buckets) == {"alice", "lab/shared"}
    assert buckets["lab/shared"].marker == "lab.1"
    assert [bucket.versioned for bucket in buckets.values()] == [False, True]
    assert keeper.holds("lab:shared")
    keeper.find("cold")
    assert not keeper.holds("cold"), "asked for by name it stays out too"
    assert "'default-placement/GLACIER'; run playbooks/placement.yml" in caplog.text


def test_a_request_is_signed_as_amazon_documents() -> None:
    # The GET example in the S3 API reference's chapter on signature version 4, listing a bucket's lifecycle: its
    # secret, date, host and query, and the signature that the chapter arrives at.
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    now = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed(keys, "examplebucket.s3.amazonaws.com", "/", "lifecycle=", now)
    assert headers["authorization"].endswith(
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


@pytest.mark.parametrize("text", ["", "[default]\naws_access_key_id = x\n", "no credentials", "[other]\n"])
def test_keys_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "s3").write_text(text)
    with pytest.raises(ClusterError, match="s3 is no AWS credentials file"):
        Keys.from_file(tmp_path / "s3")


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
    keeper: Keeper, cluster: RecordedCluster, spoil: Callable[[RecordedCluster], None], message: str
) -> None:
    spoil(cluster)
    keeper.refresh()
    assert keeper.packed is None
    assert message in (keeper.failure or "")


def test_an_erasure_coded_pool_is_told_as_such(keeper: Keeper, cluster: RecordedCluster) -> None:
    dump = cluster.read("mon_osd_dump")
    for pool in dump["pools"]:
        pool.update(type=3, erasure_code_profile="default")
    cluster.write("mon_osd_dump", dump)
    keeper.refresh()
    cluster_map = keeper.current().map
    assert cluster_map.pool_of("alice").erasure
    assert cluster_map.pool_of("alice").data_shards == 2, "the default profile's k"
    assert cluster_map.hosts("alice", ["x"]) == [()]


def test_metrics_are_prometheus_text(running: Running) -> None:
    running.service.keeper.refresh()
    running.get("/v1/map")
    lines = running.get("/metrics")[2].decode().splitlines()
    assert 'appliance_placement_answers_total{page="MapPage",status="200"} 1' in lines
    for line in lines:
        name = line.split()[2] if line.startswith("#") else line.split("{")[0].split()[0]
        assert name.startswith("appliance_placement_")


def test_a_python_without_cephs_bindings_says_what_to_install(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare/bin/python"
    monitors = Monitors(Access("placement", tmp_path / "ceph.conf", tmp_path / "keyring", str(python)))
    with pytest.raises(ClusterError, match="install python3-rados"):
        monitors.ask({"prefix": "osd stat"})


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    monitors = Monitors(Access("placement", tmp_path / "ceph.conf", tmp_path / "keyring", str(tmp_path / "python9")))
    with pytest.raises(ClusterError, match="python9 cannot be started"):
        monitors.ask({"prefix": "osd stat"})
