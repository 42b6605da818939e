"""What Ceph's daemons tell each other crosses the network in clear, or encrypted where the site says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import FACILITY, RACK, STORES, ask
from site_run import play
from wire import CANARY, crosses

from appliance.rack import health

PUT = f"""
import botocore.session
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1")
for number in range(4):
    s3.put_object(Bucket="alice", Key=f"test-wire-{{number}}", Body={CANARY!r} * 20000)
    s3.delete_object(Bucket="alice", Key=f"test-wire-{{number}}")
"""


def stores() -> None:
    """Give each storage machine's gateway something to store, on its own loopback."""
    gateway = f"http://127.0.0.1:{FACILITY.facts['ceph_rgw_port']}"
    environment = f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/alice AWS_ENDPOINT_URL={gateway}"
    for machine in STORES:
        ask(machine, f"{environment} /opt/appliance/analysis/bin/python -", given=PUT)


def restarted() -> None:
    """Restart all of Ceph, machine by machine."""
    for machine in STORES:
        # Ceph's units refuse to be started more than three times in half an hour.
        ask(machine, "systemctl reset-failed 'ceph-*' && systemctl restart ceph.target")
        health.wait(RACK)


@pytest.fixture
def _in_clear_again() -> Iterator[None]:
    yield
    assert play("secrets.yml").status == 0
    restarted()
    assert crosses(stores)


@pytest.mark.long
@pytest.mark.usefixtures("_in_clear_again")
def test_traffic_of_ceph_is_encrypted_where_the_site_says_so() -> None:
    assert crosses(stores)
    done = play("secrets.yml", ceph_mon_messenger_mode="secure")
    assert done.status == 0, done.said
    restarted()
    assert not crosses(stores)
    done = play("verify.yml")
    assert done.status == 0, done.said
