"""What machines say to each other is encrypted, and answers are from whom they seem."""

from __future__ import annotations

import pytest
from machines import FACILITY, HEAD, RACK, STORES, ask
from wire import CANARY, crosses

FACTS = FACILITY.facts
DOORS = {"S3 gateway": "ceph_rgw_tls_port", "placement service": "placement_port", "Dask gateway": "gateway_http_port"}
PLACES = [(machine, door) for door in DOORS for machine in ((HEAD,) if door == "Dask gateway" else STORES)]
PUT = f"""
import botocore.session
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1")
for number in range(4):
    s3.put_object(Bucket="alice", Key="test-wire", Body={CANARY!r} * 20000)
    assert s3.get_object(Bucket="alice", Key="test-wire")["Body"].read(100).startswith({CANARY!r})
s3.delete_object(Bucket="alice", Key="test-wire")
"""
# From the head, where no gateway is. Ceph's own traffic is another thing: the same bytes go between OSDs.
PLAIN = f"""
import socket, sys
with socket.create_connection(("{{address}}", {{port}}), timeout=30) as own:
    own.sendall({CANARY!r} * 100)
"""


def client(url: str) -> str:
    environment = f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/alice AWS_ENDPOINT_URL={url}"
    return f"{environment} /opt/appliance/analysis/bin/python -"


def test_what_the_head_stores_does_not_leave_it_in_clear() -> None:
    head = RACK.machine(HEAD).address
    assert not crosses(lambda: ask(HEAD, client(FACTS["s3_endpoint_url"]), given=PUT), of=head)
    # The control: what is sent in clear is seen.
    plain = PLAIN.format(address=RACK.machine(STORES[0]).address, port=FACTS["placement_port"])
    assert crosses(lambda: ask(HEAD, "/usr/bin/python3.13 -", given=plain), of=head)


@pytest.mark.parametrize(("machine", "door"), PLACES)
def test_a_machine_shows_its_own_certificate_and_answers_nothing_in_clear(machine: str, door: str) -> None:
    port = int(FACTS[DOORS[door]])
    program = f"""
import socket, ssl, json
def shown(name):
    context = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt")
    try:
        with socket.create_connection(("{RACK.machine(machine).address}", {port}), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname=name) as own:
                return own.version()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message.split(",")[0]
with socket.create_connection(("{RACK.machine(machine).address}", {port}), timeout=30) as plain:
    plain.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    plain.settimeout(30)
    try:
        got = plain.recv(100).decode("latin-1")
    except ConnectionResetError:
        got = ""
print(json.dumps([shown("{machine}"), shown("elsewhere"), got.startswith("HTTP/1.1 200")]))
"""
    asking = HEAD if machine != HEAD else STORES[0]
    said = ask(asking, "/usr/bin/python3.13 -", given=program).strip()
    assert said.startswith('["TLSv1.')
    assert "Hostname mismatch" in said
    assert said.endswith("false]")
