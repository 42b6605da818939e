"""What goes wrong while a global mean runs changes no bit of its result: disks, maps, and those who hand them out.

Workers and gateways that die are in ``test_compute.py``'s care; here is what lies below and beside them.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
from machines import MACHINES, ask, is_active, until
from researcher import Notebook, prepared_notebook
from site_run import ceph

from appliance.demo.facility import Facility
from appliance.demo.wire import CardWatch

CHUNKS = 288  # of a MiB: what Ceph and Dask say to each other is little beside it
# A scheduler looks at the map every few seconds, and a client keeps what it has for five: the mean takes some 20 s.
TASK_SECONDS = 0.2
SERVICE = "appliance-placement.service"
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
values = np.random.default_rng(11).normal(280.0, 5.0, size=({CHUNKS} * 16, 64, 128))
for name in ("faults.zarr", "faults-after.zarr"):
    xr.Dataset({{"t": (("time", "y", "x"), values)}}).to_zarr(
        f"s3://alice/{{name}}", mode="w", encoding={{"t": {{"chunks": (16, 64, 128), "compressors": None}}}}
    )
"""
# A worker's first read imports for seconds. The bits of the result are what is compared.
MEAN = f"""
client.run(lambda: float(xr.open_zarr("s3://alice/faults.zarr", chunks=None).t[:16, :64, :128].mean()))
slow = xr.open_zarr("s3://alice/faults.zarr").t.data.map_blocks(
    lambda block: time.sleep({TASK_SECONDS}) or block, dtype="f8"
)
before, started = appliance.compute.report(), time.time()
result = float(slow.mean().compute())
ended = time.time()
reads = appliance.compute.report() - before
say(result=result.hex(), reads=reads.reads, bytes=reads.bytes, report=str(reads), start=started, end=ended)
"""
THE_MAP = """
import os
from appliance.placement import MapClient
from appliance.placement.model.map_json import encode_map
say(**encode_map(MapClient(os.environ["APPLIANCE_PLACEMENT_URL"]).get("alice")))
"""
# Hands out one document to whoever asks, as the placement service would.
LIAR = """
import http.server, ssl, sys

class Liar(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(sys.argv[2], "rb").read() if self.path.startswith("/v1/map") else b'{"healthy": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[3])), Liar)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/etc/appliance/tls/machine.pem", "/etc/appliance/tls/machine.pem.key")
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


class Mean(NamedTuple):
    """How a mean went: its bits, the bytes that crossed machines' cards for each byte read, and what was reported."""

    bits: str
    wire: float
    report: str


@pytest.fixture(scope="module")
def alice(facility: Facility) -> Iterator[Notebook]:
    """Alice's notebook, with a cluster of three workers and data in her bucket."""
    with prepared_notebook(facility, "alice", CLUSTER + DATA, "cluster.shutdown()") as notebook:
        yield notebook


@pytest.fixture(scope="module")
def undisturbed(facility: Facility, alice: Notebook) -> str:
    """The bits of the mean while nothing is wrong."""
    mean = mean_while(facility, alice, lambda: None)
    assert mean.wire < LOCAL, mean.report
    return mean.bits


@pytest.fixture(scope="module")
def services() -> tuple[str, ...]:
    """The hosts that run the placement service."""
    found = tuple(host for host in MACHINES if is_active(host, SERVICE))
    assert found
    return found


def mean_while(facility: Facility, alice: Notebook, happens: Callable[[], object], cell: str = MEAN) -> Mean:
    """Run the mean, and let something happen once a part of it is done and most of it is not."""
    with CardWatch(facility.cards) as watch:
        time.sleep(0.3)
        alice.submit(cell)
        time.sleep(3)
        happens()
        said = alice.result()
        time.sleep(0.3)
    assert said["reads"] >= CHUNKS
    sent = sum(card.sent for card in watch.between(said["start"], said["end"]).values())
    return Mean(said["result"], sent / said["bytes"], said["report"])


def until_local(facility: Facility, alice: Notebook) -> None:
    """Wait until a quick mean reads its own hosts' disks: the scheduler has the map of what is there now."""
    quick = MEAN.replace(str(TASK_SECONDS), "0.02")
    until(lambda: mean_while(facility, alice, lambda: None, quick).wire < LOCAL)


def start_again(facility: Facility, services: tuple[str, ...]) -> None:
    """Start the placement services, and wait until every machine's balancer has found them."""
    for host in services:
        ask(host, f"systemctl start {SERVICE}")
    for host in MACHINES:
        until(partial(is_answered, facility, host))


def is_answered(facility: Facility, host: str) -> bool:
    """Whether a placement service answers at a machine's own address."""
    url = facility.facts["s3_endpoint_placement_url"]
    asked = f"curl -s -o /dev/null -w '%{{http_code}}' {url}/healthz || true"
    return ask(host, asked) == "200"


def clean() -> bool:
    """Whether all placement groups have all of their copies."""
    states = ceph("pg", "stat")["pg_summary"]["num_pg_by_state"]
    return [state["name"] for state in states] == ["active+clean"]


def test_a_killed_osd_changes_no_bit(facility: Facility, alice: Notebook, undisturbed: str) -> None:
    (osd,) = ask("store2", "ls /var/lib/ceph/osd | sed s/ceph-//").split()
    unit = f"ceph-osd@{osd}.service"
    try:
        # Dead, and not started again for the rest of the mean.
        kill = f"systemctl kill --signal=KILL {unit}; systemctl stop {unit}"
        mean = mean_while(facility, alice, lambda: ask("store2", kill))
        assert not is_active("store2", unit)
    finally:
        ask("store2", f"systemctl reset-failed {unit}; systemctl start {unit}")
        until(clean)
    assert mean.bits == undisturbed
    # The scheduler's map is some seconds old, and the next test stops those who would tell it of the disk's return.
    until_local(facility, alice)


def test_stopped_placement_services_change_nothing(
    facility: Facility, alice: Notebook, undisturbed: str, services: tuple[str, ...]
) -> None:
    def stop() -> None:
        for host in services:
            ask(host, f"systemctl stop {SERVICE}")

    try:
        mean = mean_while(facility, alice, stop)
    finally:
        start_again(facility, services)
    assert mean.bits == undisturbed
    assert mean.wire < LOCAL, mean.report  # the map that there was goes on being used


@contextmanager
def handed_out(facility: Facility, services: tuple[str, ...], document: bytes) -> Iterator[Callable[[], None]]:
    """Give a way to replace the map that all of the facility is told by this document; ends with the true one."""
    packed = base64.b64encode(document).decode()
    file, unit = "/run/test-liar.json", "test-liar.service"

    def replace() -> None:
        for host in services:
            address = facility.rack.machine(host).address
            facility.run(host, "/bin/bash", "-c", f"base64 -d > {file}", given=packed.encode())
            ask(host, f"systemctl stop {SERVICE}")
            facility.run(
                *(host, "systemd-run", "--quiet", "--collect", f"--unit={unit}"),
                *("/usr/bin/python3", "-c", LIAR, address, file, str(facility.facts["placement_port"])),
            )

    try:
        yield replace
    finally:
        for host in services:
            ask(host, f"systemctl stop {unit}; rm -f {file}")
        start_again(facility, services)


def wrong(cluster_map: dict[str, Any], epoch: int) -> bytes:
    """A map in which each object lies on the hosts that do not hold it."""
    osds = [int(osd) for osd in cluster_map["osds"]]
    pools = [
        {**pool, "acting": [[osd for osd in osds if osd not in acting] for acting in pool["acting"]]}
        for pool in cluster_map["pools"]
    ]
    return json.dumps({**cluster_map, "epoch": epoch, "pools": pools}).encode()


@pytest.mark.parametrize(
    "kind", ["old", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("truncated", "garbage"))]
)
def test_a_map_that_cannot_be_true_is_not_believed(
    facility: Facility, alice: Notebook, undisturbed: str, services: tuple[str, ...], kind: str
) -> None:
    known = alice.run(THE_MAP)
    document = {
        # Older than whatever the scheduler has: its map may be from before the last changes.
        "old": wrong(known, 1),
        "truncated": json.dumps(known).encode()[:-100],
        "garbage": b"\x1f\x8b\x00garbage",
    }[kind]
    with handed_out(facility, services, document) as replace:
        mean = mean_while(facility, alice, replace)
    assert mean.bits == undisturbed
    assert mean.wire < LOCAL, mean.report


def test_a_map_that_points_at_the_wrong_hosts_costs_bytes_and_no_bit(
    facility: Facility, alice: Notebook, undisturbed: str, services: tuple[str, ...]
) -> None:
    known = alice.run(THE_MAP)
    with handed_out(facility, services, wrong(known, known["epoch"] + 1)) as replace:
        mean = mean_while(facility, alice, replace)
    assert mean.bits == undisturbed
    assert mean.wire > REMOTE, mean.report  # it was believed: nothing says that it lies
    # The truth is older than the lie until the cluster has changed.
    ask("store1", "ceph osd set noscrub && ceph osd unset noscrub")
    until_local(facility, alice)
