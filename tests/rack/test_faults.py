"""What goes wrong while a global mean runs changes no bit of its result: disks, maps, and those who hand them out.

Workers and gateways that die are in ``test_compute.py``'s care; here is what lies below and beside them.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from researcher import Notebook, Researcher

from appliance.demo.facility import Facility, FacilityError
from appliance.demo.wire import CardWatch

STORES = ("store1", "store2", "store3")
CHUNKS = 288  # of half a MiB
# A scheduler looks at the map every few seconds, and a client keeps what it has for five: the mean takes some 20 s.
TASK_SECONDS = 0.2
SERVICE = "appliance-placement.service"
PORT = 7600
PATIENCE = 120  # s
# Bytes on the wire for each byte read: of an analysis that reads its own hosts' disks, and of one that at least in a
# part of it did not.
LOCAL, REMOTE = 0.1, 0.2

CLUSTER = """
import time
import numpy as np, xarray as xr
from dask_gateway import Gateway
import appliance.compute
cluster = Gateway().new_cluster(worker_memory=1.0)
cluster.scale(3)
client = cluster.get_client()
client.wait_for_workers(3, timeout=120)
"""
# Data read soon after it was written may come from the primary only: it is written twice, so that every placement
# group sees a write after the one that counts.
DATA = f"""
values = np.random.default_rng(11).normal(280.0, 5.0, size=({CHUNKS} * 8, 64, 128))
for name in ("faults.zarr", "faults-after.zarr"):
    xr.Dataset({{"t": (("time", "y", "x"), values)}}).to_zarr(
        f"s3://alice/{{name}}", mode="w", encoding={{"t": {{"chunks": (8, 64, 128), "compressors": None}}}}
    )
"""
# A worker's first read imports for seconds. The bits of the result are what is compared.
MEAN = f"""
client.run(lambda: float(xr.open_zarr("s3://alice/faults.zarr", chunks=None).t[:8, :64, :128].mean()))
slow = xr.open_zarr("s3://alice/faults.zarr").t.data.map_blocks(
    lambda block: time.sleep({TASK_SECONDS}) or block, dtype="f8"
)
before, started = appliance.compute.report(), time.time()
result = float(slow.mean().compute())
ended = time.time()
reads = appliance.compute.report() - before
say(result=result.hex(), reads=reads.reads, bytes=reads.bytes, start=started, end=ended)
"""
THE_MAP = """
import os
from appliance.placement import MapClient
say(**MapClient(os.environ["APPLIANCE_PLACEMENT_URL"]).get("alice").to_json())
"""
# Hands out one document to whoever asks, as the placement service would.
LIAR = """
import http.server, sys

class Liar(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(sys.argv[2], "rb").read() if self.path.startswith("/v1/map") else b'{"healthy": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[3])), Liar).serve_forever()
"""


@pytest.fixture(scope="module")
def facility() -> Facility:
    return Facility(os.environ.get("APPLIANCE_RACK", "rack"))


@pytest.fixture(scope="module")
def alice(facility: Facility) -> Iterator[Notebook]:
    """Alice's notebook, with a cluster of three workers and data in her bucket."""
    with Researcher(facility, "alice") as alice, alice.notebook() as notebook:
        try:
            notebook.run(CLUSTER + DATA)
            yield notebook
        finally:
            notebook.run("cluster.shutdown()")


@pytest.fixture(scope="module")
def undisturbed(facility: Facility, alice: Notebook) -> str:
    """The bits of the mean while nothing is wrong."""
    result, wire = mean_while(facility, alice, lambda: None)
    assert wire < LOCAL
    return result


@pytest.fixture(scope="module")
def services(facility: Facility) -> tuple[str, ...]:
    """The hosts that run the placement service."""
    found = tuple(host for host in ("head1", *STORES) if is_active(facility, host, SERVICE))
    assert found
    return found


def on(facility: Facility, host: str, script: str) -> str:
    return facility.run(host, "/bin/bash", "-c", script).decode()


def is_active(facility: Facility, host: str, unit: str) -> bool:
    return on(facility, host, f"systemctl is-active {unit} || true").strip() == "active"


def ceph(facility: Facility, command: str) -> str:
    keyring = "/var/lib/ceph/mon/ceph-store1/keyring"
    return on(facility, "store1", f"timeout 30 ceph -n mon. -k {keyring} {command}")


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.5)


def mean_while(
    facility: Facility, alice: Notebook, happens: Callable[[], object], cell: str = MEAN
) -> tuple[str, float]:
    """Run the mean, and let something happen once a part of it is done and most of it is not.

    Returns the bits of the result, and the bytes that crossed the machines' cards for each byte read.
    """
    with CardWatch(facility.cards) as watch:
        time.sleep(0.3)
        alice.submit(cell)
        time.sleep(3)
        happens()
        said = alice.result()
        time.sleep(0.3)
    assert said["reads"] >= CHUNKS
    sent = sum(card.sent for card in watch.between(said["start"], said["end"]).values())
    return said["result"], sent / said["bytes"]


def start_again(facility: Facility, services: tuple[str, ...]) -> None:
    """Start the placement services, and wait until every machine's balancer has found them."""
    for host in services:
        on(facility, host, f"systemctl start {SERVICE}")
    for host in ("head1", *STORES):
        until(partial(is_answered, facility, host))


def is_answered(facility: Facility, host: str) -> bool:
    """Whether a placement service answers at a machine's own address."""
    asked = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:7483/healthz || true"
    return on(facility, host, asked) == "200"


def healthy(facility: Facility) -> bool:
    try:
        groups = json.loads(ceph(facility, "pg stat --format json"))["pg_summary"]
    except FacilityError:
        return False
    return [state["name"] for state in groups["num_pg_by_state"]] == ["active+clean"]


def test_a_killed_osd_changes_no_bit(facility: Facility, alice: Notebook, undisturbed: str) -> None:
    (osd,) = on(facility, "store2", "ls /var/lib/ceph/osd | sed s/ceph-//").split()
    unit = f"ceph-osd@{osd}.service"
    try:
        # Dead, and not started again for the rest of the mean.
        kill = f"systemctl kill --signal=KILL {unit}; systemctl stop {unit}"
        result, _ = mean_while(facility, alice, lambda: on(facility, "store2", kill))
        assert not is_active(facility, "store2", unit)
    finally:
        on(facility, "store2", f"systemctl reset-failed {unit}; systemctl start {unit}")
        until(lambda: healthy(facility))
    assert result == undisturbed


def test_stopped_placement_services_change_nothing(
    facility: Facility, alice: Notebook, undisturbed: str, services: tuple[str, ...]
) -> None:
    def stop() -> None:
        for host in services:
            on(facility, host, f"systemctl stop {SERVICE}")

    try:
        result, wire = mean_while(facility, alice, stop)
    finally:
        start_again(facility, services)
    assert result == undisturbed
    assert wire < LOCAL  # the map that there was goes on being used


@contextmanager
def handed_out(facility: Facility, services: tuple[str, ...], document: bytes) -> Iterator[Callable[[], None]]:
    """Give a way to replace the map that all of the facility is told by this document; ends with the true one."""
    packed = base64.b64encode(document).decode()
    file, unit = "/run/test-liar.json", "test-liar.service"

    def replace() -> None:
        for host in services:
            address = facility.rack.machine(host).address
            facility.run(host, "/bin/bash", "-c", f"base64 -d > {file}", given=packed.encode())
            on(facility, host, f"systemctl stop {SERVICE}")
            facility.run(
                *(host, "systemd-run", "--quiet", "--collect", f"--unit={unit}"),
                *("/usr/bin/python3", "-c", LIAR, address, file, str(PORT)),
            )

    try:
        yield replace
    finally:
        for host in services:
            on(facility, host, f"systemctl stop {unit}; rm -f {file}")
        start_again(facility, services)


def wrong(cluster_map: dict[str, Any], epoch: int) -> bytes:
    """A map in which each object lies on the hosts that do not hold it."""
    osds = [int(osd) for osd in cluster_map["osds"]]
    pools = [
        {**pool, "acting": [[osd for osd in osds if osd not in acting] for acting in pool["acting"]]}
        for pool in cluster_map["pools"]
    ]
    return json.dumps({**cluster_map, "epoch": epoch, "pools": pools}).encode()


@pytest.mark.parametrize("kind", ["old", "truncated", "garbage"])
def test_a_map_that_cannot_be_true_is_not_believed(
    facility: Facility, alice: Notebook, undisturbed: str, services: tuple[str, ...], kind: str
) -> None:
    known = alice.run(THE_MAP)
    document = {
        "old": wrong(known, known["epoch"] - 1),
        "truncated": json.dumps(known).encode()[:-100],
        "garbage": b"\x1f\x8b\x00garbage",
    }[kind]
    with handed_out(facility, services, document) as replace:
        result, wire = mean_while(facility, alice, replace)
    assert result == undisturbed
    assert wire < LOCAL


def test_a_map_that_points_at_the_wrong_hosts_costs_bytes_and_no_bit(
    facility: Facility, alice: Notebook, undisturbed: str, services: tuple[str, ...]
) -> None:
    known = alice.run(THE_MAP)
    with handed_out(facility, services, wrong(known, known["epoch"] + 1)) as replace:
        result, wire = mean_while(facility, alice, replace)
    assert result == undisturbed
    assert wire > REMOTE  # it was believed: nothing says that it lies
    # The truth is older than the lie until the cluster has changed.
    ceph(facility, "osd set noscrub")
    ceph(facility, "osd unset noscrub")
    quick = MEAN.replace(str(TASK_SECONDS), "0.02")
    until(lambda: mean_while(facility, alice, lambda: None, quick)[1] < LOCAL)
