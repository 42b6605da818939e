"""What Ceph's daemons tell each other crosses the network in clear, or encrypted where the site says so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from machines import FACILITY, RACK, STORES, ask
from site_run import play

from appliance.rack import health

CANARY = b"appliance-canary-on-the-wire-"
EVERY_FRAME = 0x0003  # ETH_P_ALL of linux/if_ether.h
PUT = f"""
import botocore.session
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1")
for number in range(4):
    s3.put_object(Bucket="alice", Key=f"test-wire-{{number}}", Body={CANARY!r} * 20000)
    s3.delete_object(Bucket="alice", Key=f"test-wire-{{number}}")
"""


def crosses() -> bool:
    """Whether the rack's bridge carries what a gateway on a storage machine is given on its own loopback."""
    seen, stop = threading.Event(), threading.Event()

    def watch(wire: socket.socket) -> None:
        while not stop.is_set():
            try:
                frame = wire.recv(65536)
            except TimeoutError:
                continue
            if CANARY in frame:
                seen.set()

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(EVERY_FRAME)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**25)
        # Unbound: a bridge hands up no frame that it only forwards.
        wire.settimeout(0.2)
        thread = threading.Thread(target=watch, args=[wire])
        thread.start()
        gateway = f"http://127.0.0.1:{FACILITY.facts['ceph_rgw_port']}"
        environment = f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/alice AWS_ENDPOINT_URL={gateway}"
        for machine in STORES:
            ask(machine, f"{environment} /opt/appliance/analysis/bin/python -", given=PUT)
        stop.set()
        thread.join()
    return seen.is_set()


def restarted() -> None:
    """Restart all of Ceph, machine by machine."""
    for machine in STORES:
        ask(machine, "systemctl restart ceph-mon.target ceph-mgr.target ceph-osd.target ceph-radosgw.target")
        health.wait(RACK)


@pytest.fixture
def _in_clear_again() -> Iterator[None]:
    yield
    assert play("secrets.yml").status == 0
    restarted()
    assert crosses()


@pytest.mark.usefixtures("_in_clear_again")
def test_traffic_of_ceph_is_encrypted_where_the_site_says_so() -> None:
    assert crosses()
    done = play("secrets.yml", ceph_mon_messenger_mode="secure")
    assert done.status == 0, done.said
    restarted()
    assert not crosses()
    done = play("verify.yml")
    assert done.status == 0, done.said
