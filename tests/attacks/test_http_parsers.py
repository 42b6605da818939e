"""A researcher hides a request in another, so that a server takes it for the next of somebody else's.

A way is harmless where the hidden request does not run, or where the balancer itself took it for the next request of
the same client and answered it there. After each, another researcher's own requests get their own answers.
"""

from __future__ import annotations

import base64
import secrets
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from intruder import run
from machines import FACILITY, STORES
from parser_ways import HOST, Door, Way, request, ways
from placement_rack import service_url
from researcher import Notebook, Researcher

SECONDS = 3600  # a presigned request and the hub's tokens hold for all ways
ROUNDS = 500
CLIENTS = 6
PREFIX = f"parser-attack-{secrets.token_hex(4)}"  # of this run alone
WAYS = pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in ways()])

# What both kernels know. The clients try once, and trust nothing that was not sent for this request.
COMMON = """
import base64, os, re, socket, threading
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from urllib.parse import urlsplit

def client():
    config = Config(
        signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1, "mode": "standard"},
        read_timeout=20,
    )
    return botocore.session.get_session().create_client("s3", region_name="us-east-1", config=config)

s3 = client()
place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
"""

SENDER = """
import base64, re, socket

def answers(connection, seconds):
    got = b""
    connection.settimeout(seconds)
    try:
        while piece := connection.recv(65536):
            got += piece
    except OSError:
        pass
    return got

def send(host, port, pieces):
    got = b""
    with socket.create_connection((host, port), timeout=10) as connection:
        try:
            for piece in pieces:
                connection.sendall(base64.b64decode(piece))
                got += answers(connection, 0.15)
        except OSError:
            pass
    return [int(status) for status in re.findall(rb"HTTP/1\\.[01] ([2-5]\\d\\d)", got)]
"""

ATTACKER = (
    COMMON
    + SENDER
    + f"""
def hidden(key, length=5):
    url = urlsplit(s3.generate_presigned_url("put_object", Params=dict(Bucket="alice", Key="{PREFIX}/" + key)))
    head = [f"PUT {{url.path}}?{{url.query}} HTTP/1.1", f"Host: {{url.netloc}}", f"Content-Length: {{length}}", "", ""]
    return "\\r\\n".join(head) + ("inner" if length == 5 else "")

def stored():
    found = s3.list_objects_v2(Bucket="alice", Prefix="{PREFIX}/").get("Contents", [])
    return [item["Key"].partition("/")[2] for item in found]

def capture(number):
    inner = hidden(f"captured{{number}}", length=700).encode()
    outer = ["PUT /no-such-bucket/x HTTP/1.1", "Host: {HOST}", f"Content-Length: {{len(inner)}}"]
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall("\\r\\n".join([*outer, "Expect: 100-continue", "", ""]).encode())
        while b"\\r\\n\\r\\n" not in connection.recv(65536):
            pass
        try:
            connection.sendall(inner)
        except OSError:
            pass
"""
)

VICTIM = (
    COMMON
    + f"""
from appliance.placement import MapClient
maps = MapClient(os.environ["APPLIANCE_PLACEMENT_URL"], timeout=10, max_age=0.0, retry_after=0.0)
OWN = b"bob's own data"
s3.put_object(Bucket="bob", Key="{PREFIX}", Body=OWN)

def wrong(with_client=s3):
    "What the owner's own reads bring that is not theirs; several, as the next gateways have their turn."
    faults = []
    for _ in range(3):
        try:
            body = with_client.get_object(Bucket="bob", Key="{PREFIX}")["Body"].read()
            if body != OWN:
                faults.append(f"other data: {{body[:40]!r}}")
        except Exception as error:
            faults.append(f"{{type(error).__name__}}: {{error}}")
    return faults

def wrong_map():
    try:
        held = maps.get("bob")
        return [] if "bob" in held.buckets else ["another map"]
    except Exception as error:
        return [f"{{type(error).__name__}}: {{error}}"]

def read_until_ended(ended, begun, faults, counts, number):
    own = client()
    while not ended.is_set():
        faults += wrong(own)
        counts[number] += 1
        begun.release()
"""
)


@dataclass
class Both:
    """The two researchers' Pythons on the head, and what the gateway may have run of the attacker's."""

    attacker: Notebook
    victim: Notebook
    answered: dict[str, list[int]] = field(default_factory=dict)  # by the key of what was hidden

    def send(self, port: int, *pieces: bytes, host: str = HOST) -> list[int]:
        """Statuses that the attacker gets for these bytes."""
        texts = [base64.b64encode(piece).decode() for piece in pieces]
        statuses: list[int] = self.attacker.run(f"say(statuses=send({host!r}, {port}, {texts!r}))")["statuses"]
        return statuses

    def hidden(self, key: str) -> bytes:
        """A whole request of the attacker's own that writes an object."""
        made: str = self.attacker.run(f"say(made=hidden({key!r}))")["made"]
        return made.encode()

    def ran(self) -> set[str]:
        """Keys of the hidden requests that a gateway has run."""
        return set(self.attacker.run("say(stored=stored())")["stored"])

    def owned(self) -> str:
        """Path of a signed request that writes an object of the attacker's in the open."""
        return self.hidden("open").split(b" ")[1].decode()


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with (
        Researcher(FACILITY, "alice", SECONDS) as alice,
        Researcher(FACILITY, "bob", SECONDS) as bob,
        alice.notebook() as attacker,
        bob.notebook() as victim,
    ):
        attacker.run(ATTACKER)
        victim.run(VICTIM)
        yield Both(attacker, victim)
        attacker.run(f"""for key in stored(): s3.delete_object(Bucket="alice", Key="{PREFIX}/" + key)""")
        victim.run(f"""s3.delete_object(Bucket="bob", Key="{PREFIX}")""")


@pytest.fixture(scope="module")
def s3_port() -> int:
    return int(FACILITY.facts["s3_endpoint_port"])


@pytest.fixture(scope="module")
def placement_port() -> int:
    return int(FACILITY.facts["s3_endpoint_placement_port"])


def strangers() -> int:
    """How often the placement services were asked for pages that they do not have."""
    told = 0.0
    for store in STORES:
        with urllib.request.urlopen(f"{service_url(store)}/metrics", timeout=10) as answer:  # noqa: S310
            for line in answer.read().decode().splitlines():
                if 'page="ErrorHandler"' in line:
                    told += float(line.split()[-1])
    return int(told)


def test_what_is_hidden_is_a_right_request_in_the_open(both: Both, s3_port: int) -> None:
    assert both.send(s3_port, both.hidden("control")) == [200]
    assert "control" in both.ran()


def test_a_gateway_runs_what_is_hidden_where_nothing_stands_before_it(both: Both) -> None:
    """Straight at the gateway the first way is one, so that the tests below would see one."""
    inner = both.hidden("straight")
    refused = request("PUT /no-such-bucket/x", f"Content-Length: {len(inner)}", "Expect: 100-continue")
    port = int(FACILITY.facts["ceph_rgw_port"])
    texts = [base64.b64encode(piece).decode() for piece in (refused, inner)]
    program = f"{SENDER}\nsay(send('127.0.0.1', {port}, {texts!r}))"
    assert run(STORES[0], "root", program) == [404, 200]
    assert "straight" in both.ran()


@WAYS
def test_no_hidden_request_reaches_a_gateway(way: Way, both: Both, s3_port: int) -> None:
    key = f"hidden-{len(both.answered)}"
    door = Door("PUT /no-such-bucket/x", "GET /", f"PUT {both.owned()}")
    both.answered[key] = both.send(s3_port, *way.pieces(door, both.hidden(key)))
    assert both.victim.run("say(wrong=wrong())")["wrong"] == []
    assert key not in both.ran() or len(both.answered[key]) == 2, both.answered[key]


def test_no_hidden_request_ran_later(both: Both) -> None:
    assert [key for key in both.ran() & set(both.answered) if len(both.answered[key]) < 2] == []


@WAYS
def test_no_hidden_request_reaches_a_placement_service(way: Way, both: Both, placement_port: int) -> None:
    before = strangers()
    door = Door("POST /v1/layouts", "GET /v1/map")
    inner = request("GET /hidden")
    statuses = both.send(placement_port, *way.pieces(door, inner))
    assert both.victim.run("say(wrong=wrong_map())")["wrong"] == []
    # One that was answered with 404 stood in the open.
    assert strangers() - before <= statuses.count(404), statuses


def test_no_request_is_captured_while_others_are_busy(both: Both) -> None:
    """A hidden request that has no end yet would take the next one's on its connection for its body."""
    both.victim.run(f"""
        ended, begun, faults, counts = threading.Event(), threading.Semaphore(0), [], [0] * {CLIENTS}
        readers = [
            threading.Thread(target=read_until_ended, args=(ended, begun, faults, counts, number))
            for number in range({CLIENTS})
        ]
        for reader in readers:
            reader.start()
        for _ in readers:
            begun.acquire()
    """)
    try:
        both.attacker.run(f"for number in range({ROUNDS}): capture(number)")
    finally:
        told = both.victim.run("""
            ended.set()
            for reader in readers:
                reader.join()
            say(wrong=faults, rounds=counts)
        """)
    assert told["wrong"] == []
    assert min(told["rounds"]) > 1
    assert [key for key in both.ran() if key.startswith("captured")] == []


def test_a_client_goes_on_after_a_refusal(both: Both) -> None:
    """Its next request is not taken for the body that it did not send."""
    said = both.attacker.run(f"""
        own, codes = client(), []
        for _ in range(5):
            try:
                own.put_object(Bucket="no-such-bucket", Key="x", Body=b"x" * 100000)
            except ClientError as error:
                codes.append(error.response["Error"]["Code"])
            own.put_object(Bucket="alice", Key="{PREFIX}/after", Body=b"after")
        say(codes=codes, body=own.get_object(Bucket="alice", Key="{PREFIX}/after")["Body"].read().decode())
    """)
    assert said == {"codes": ["NoSuchBucket"] * 5, "body": "after"}
