"""What a researcher's process asks the gateway about single objects."""

import socket
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clocks import Clock
from raw_server import RawServer, raw_server

from appliance.placement import ObjectLookup, PlacementUnavailable
from appliance.placement.auth.sigv4 import Keys, sign
from appliance.placement.client.listing import S3Object

KEYS = Keys("AKALICE", "alices-secret")
FOUND = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "e"\r\nLast-Modified: today\r\n\r\n'


@pytest.fixture
def gateway() -> Iterator[RawServer]:
    def found(channel: socket.socket, _: bytes) -> bool:
        channel.sendall(FOUND)
        return True

    with raw_server(found) as gateway:
        yield gateway


def test_an_endpoint_and_keys_are_needed_and_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PlacementUnavailable, match="AWS_ENDPOINT_URL"):
        ObjectLookup.from_environment()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:7481")
    with pytest.raises(PlacementUnavailable, match="AWS_SHARED_CREDENTIALS_FILE"):
        ObjectLookup.from_environment()
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PlacementUnavailable, match="No such file"):
        ObjectLookup.from_environment()
    (tmp_path / "none").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert ObjectLookup.from_environment().keys == Keys("a", "b")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:port")
    with pytest.raises(PlacementUnavailable, match="AWS_ENDPOINT_URL"):
        ObjectLookup.from_environment()


@pytest.mark.parametrize("key", ["plain", "a//b", "../up", "100%", "ä ö", "a?b#c", "a+b&c=d", "~tilde/'quoted'"])
def test_any_key_arrives_as_it_was_signed(gateway: RawServer, key: str) -> None:
    """Whatever characters it has: no layer in between may write the path another way."""
    with closing(ObjectLookup(gateway.url, KEYS)) as look_up:
        assert look_up("lab:alice", [key]) == [S3Object(key, 5, "e", "null", "STANDARD", "today")]
    lines = gateway.requests[0][0].decode().split("\r\n")
    path = lines[0].split()[1]
    assert lines[0] == f"HEAD {path} HTTP/1.1"
    assert path.startswith("/lab%3Aalice/")
    assert urllib.parse.unquote(path.removeprefix("/lab%3Aalice/")) == key
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    right = sign(KEYS, "HEAD", headers["host"], path, headers["x-amz-date"])
    assert headers["authorization"].endswith(f"Signature={right}")


def test_many_objects_are_asked_for_over_few_connections(gateway: RawServer) -> None:
    with closing(ObjectLookup(gateway.url, KEYS)) as look_up:
        keys = [str(number) for number in range(50)]
        assert [found and found.key for found in look_up("alice", keys)] == keys
        assert [found and found.key for found in look_up("alice", keys)] == keys
    assert len(gateway.requests) <= 8


def test_a_gateway_that_is_down_is_left_alone_for_a_while(gateway: RawServer, clock: Clock) -> None:
    with closing(ObjectLookup("http://127.0.0.1:9", KEYS, retry_after=5, clock=clock)) as look_up:
        assert look_up("alice", ["a"]) == [None]
    with closing(ObjectLookup(gateway.url, KEYS, retry_after=5, clock=clock)) as look_up:
        look_up._failed = clock.now
        assert look_up("alice", ["a", "b", "c"]) == [None] * 3
        assert gateway.requests == []
        clock.now += 5
        assert look_up("alice", ["a"])[0] is not None


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", FOUND.replace(b"5", b"x")]
)
def test_what_is_not_there_or_no_answer_of_s3s_is_unknown_and_the_gateway_asked_on(answer: bytes) -> None:
    def answers(channel: socket.socket, _: bytes) -> bool:
        channel.sendall(answer)
        return False

    with raw_server(answers) as gateway, closing(ObjectLookup(gateway.url, KEYS)) as look_up:
        assert look_up("alice", ["a"]) == [None]
        assert look_up("alice", ["b"]) == [None]
        assert len(gateway.requests) >= 2


def test_a_key_that_utf8_cannot_write_is_unknown(gateway: RawServer) -> None:
    with closing(ObjectLookup(gateway.url, KEYS)) as look_up:
        assert look_up("alice", ["\udc80"]) == [None]
    assert gateway.requests == []
