"""A researcher's process connects to the facility, and to nothing else: not to its inner parts, and not outside."""

from __future__ import annotations

import pytest
from intruder import run
from machines import FACILITY, HEAD, RACK, STORES, ask

FACTS = FACILITY.facts
NEIGHBOUR = RACK.machine(STORES[1]).address
DEPOT = 3142
# What listens, and answers root on both machines.
DOORS = {
    "depot": (RACK.gateway, DEPOT),
    "monitor": (NEIGHBOUR, 3300),
    "monitor's older protocol": (NEIGHBOUR, 6789),
    "OSD": (NEIGHBOUR, 0),
    "S3 gateway": (NEIGHBOUR, int(FACTS["ceph_rgw_tls_port"])),
    "placement service": (NEIGHBOUR, int(FACTS["placement_port"])),
}
PLACES = (HEAD, STORES[0])
CONNECT = """
def connect(address, port):
    socket.create_connection((address, port), timeout=30).close()
"""
SEND = """
def send(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.sendto(b"secret", (address, 53))
"""


@pytest.fixture(scope="module")
def osd_port() -> int:
    """A port at which an OSD listens for everybody."""
    listening = ask(STORES[1], f"ss -Hltnp 'src {NEIGHBOUR}' | grep -m1 ceph-osd").split()
    return int(listening[3].rpartition(":")[2])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("machine", PLACES)
def test_nothing_else_is_reached(machine: str, door: str, osd_port: int) -> None:
    address, port = DOORS[door]
    program = f"{CONNECT}\nsay(attempt(connect, {address!r}, {port or osd_port}))"
    assert run(machine, "alice", program) == "ECONNREFUSED"
    assert run(machine, "root", program) == "done"


def test_no_session_is_had_by_the_facilitys_own_way() -> None:
    """The gateway's server opens ssh from the head; a notebook beside it does not."""
    program = f"{CONNECT}\nsay(attempt(connect, {NEIGHBOUR!r}, {FACTS['firewall_ssh_port']}))"
    assert run(HEAD, "alice", program) == "ECONNREFUSED"
    assert run(HEAD, "root", program) == "done"


@pytest.mark.parametrize("machine", PLACES)
def test_no_datagram_leaves_the_machine(machine: str) -> None:
    """A question to a name server of one's own carries whatever stands in the name."""
    program = f"{SEND}\nsay(attempt(send, {RACK.gateway!r}))"
    assert run(machine, "alice", program) == "EPERM"
    assert run(machine, "root", program) == "done"


@pytest.mark.parametrize(
    ("machine", "address", "fact"),
    [
        (HEAD, "127.0.0.1", "s3_endpoint_port"),
        (HEAD, "127.0.0.1", "s3_endpoint_placement_port"),
        (HEAD, "127.0.0.1", "jupyterhub_hub_port"),
        (HEAD, RACK.machine(HEAD).address, "gateway_scheduler_port"),
        (STORES[0], "127.0.0.1", "s3_endpoint_port"),
        (STORES[0], "127.0.0.1", "s3_endpoint_placement_port"),
        (STORES[0], RACK.machine(HEAD).address, "gateway_http_port"),
    ],
)
def test_what_an_analysis_needs_is_reached(machine: str, address: str, fact: str) -> None:
    assert run(machine, "alice", f"{CONNECT}\nsay(attempt(connect, {address!r}, {FACTS[fact]}))") == "done"
