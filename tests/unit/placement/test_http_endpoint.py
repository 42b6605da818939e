"""Requests to servers that are quick and whole, and to others."""

import gzip
import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing

import pytest
from raw_server import OK, RawServer, ok_and_close, raw_server

from appliance.placement import http_endpoint
from appliance.placement.errors import HttpError
from appliance.placement.http_endpoint import HttpEndpoint


def reply(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_connection_is_kept_and_used_again() -> None:
    with raw_server() as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        for _ in range(3):
            assert endpoint.request("GET", "/x?y=%2F", {"X-Name": "value"}).body == b"ok"
        assert [len(requests) for requests in server.requests] == [3]
        assert server.requests[0][0].startswith(b"GET /x?y=%2F HTTP/1.1\r\n")
        assert b"\r\nX-Name: value\r\n" in server.requests[0][0]


def test_without_keeping_each_request_has_its_connection() -> None:
    with raw_server() as server, closing(HttpEndpoint(server.url, timeout=10, keep_alive=False)) as endpoint:
        for _ in range(3):
            endpoint.request("GET", "/", {})
        assert [len(requests) for requests in server.requests] == [1, 1, 1]
        assert b"\r\nConnection: close\r\n" in server.requests[0][0]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_repeated_when_its_kept_connection_is_lost(method: str) -> None:
    """As when a server restarts: the client learns of it when it sends."""

    def once_only(channel: socket.socket, _: bytes) -> bool:
        if len(server.requests[-1]) > 1:
            return False  # a second request over this connection: it ends without an answer
        channel.sendall(OK)
        return True

    with raw_server(once_only) as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        endpoint.request(method, "/", {})
        assert endpoint.request(method, "/", {}).body == b"ok"
        assert [len(requests) for requests in server.requests] == [2, 1]


def test_a_server_that_ends_every_connection_is_asked_twice_and_named() -> None:
    with raw_server(lambda *_: False) as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        with pytest.raises(HttpError, match="closed connection without response"):
            endpoint.request("GET", "/", {})
        assert len(server.requests) == 2


def mute(server: RawServer, channel: socket.socket) -> None:
    del channel
    server.ended.wait()


def drips(server: RawServer, channel: socket.socket, at_once: bytes, slowly: bytes) -> None:
    """Send the end of an answer a byte at a time, each well before the client's patience for one is over."""
    channel.sendall(at_once)
    for at in range(len(slowly)):
        channel.sendall(slowly[at : at + 1])
        if server.ended.wait(0.05):
            return


STATUS = b"HTTP/1.1 200 OK\r\n"
SLOW: dict[str, tuple[Callable[[RawServer, socket.socket], None], str]] = {
    "mute": (mute, "timed out"),
    "header": (lambda *to: drips(*to, STATUS, b"X: " + 60 * b"x" + b"\r\n\r\n"), "not done in 0.5 s"),
    "body": (lambda *to: drips(*to, reply(b"")[:-2].replace(b" 0", b" 60") + b"\r\n", 60 * b"x"), "not done in 0.5 s"),
    "body without a length": (lambda *to: drips(*to, STATUS + b"\r\n", 60 * b"x"), "not done in 0.5 s"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_server_that_is_slow_is_given_up_and_not_asked_again(kind: str) -> None:
    answer, message = SLOW[kind]

    def slowly(channel: socket.socket, _: bytes) -> bool:
        answer(server, channel)
        return False

    patience = 0.1 if kind == "mute" else 10.0
    with (
        raw_server(slowly) as server,
        closing(HttpEndpoint(server.url, timeout=patience, response_timeout=0.5)) as endpoint,
    ):
        with pytest.raises(HttpError, match=message):
            endpoint.request("GET", "/", {})
        assert len(server.requests) == 1


def test_the_deadline_is_each_responses_own() -> None:
    """A connection that was kept for longer than a response may take is good."""
    with raw_server() as server, closing(HttpEndpoint(server.url, timeout=10, response_timeout=0.2)) as endpoint:
        endpoint.request("GET", "/", {})
        server.ended.wait(0.3)
        assert endpoint.request("GET", "/", {}).body == b"ok"
        assert len(server.requests) == 1


def test_gzip_is_unpacked_and_damaged_gzip_refused() -> None:
    bodies = [gzip.compress(b"plain"), b"plain"]

    def pack(channel: socket.socket, _: bytes) -> bool:
        channel.sendall(reply(bodies.pop(0), "Content-Encoding: gzip"))
        return True

    with raw_server(pack) as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        assert endpoint.request("GET", "/", {}).body == b"plain"
        with pytest.raises(HttpError, match="while decompressing"):
            endpoint.request("GET", "/", {})


@pytest.mark.parametrize("body", [b"x" * 5000, gzip.compress(b"x" * 5000)], ids=["plain", "gzip"])
def test_a_body_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(http_endpoint, "MAX_BYTES", 4000)
    packing = ["Content-Encoding: gzip"] if body[:1] != b"x" else []

    def long(channel: socket.socket, _: bytes) -> bool:
        channel.sendall(reply(body, *packing))
        return True

    with (
        raw_server(long) as server,
        closing(HttpEndpoint(server.url, timeout=10)) as endpoint,
        pytest.raises(HttpError, match="more than 4000 bytes"),
    ):
        endpoint.request("GET", "/", {})


def test_a_body_that_breaks_off_is_refused() -> None:
    def broken(channel: socket.socket, _: bytes) -> bool:
        channel.sendall(reply(b"x" * 100)[:-1])
        return False

    with (
        raw_server(broken) as server,
        closing(HttpEndpoint(server.url, timeout=10)) as endpoint,
        pytest.raises(HttpError, match="99 bytes read, 1 more expected"),
    ):
        endpoint.request("GET", "/", {})


def test_the_first_bytes_are_taken_and_the_rest_is_no_other_response() -> None:
    def unfinished(channel: socket.socket, request: bytes) -> bool:
        channel.sendall(OK if b"/short" in request else reply(b"x" * 2000)[:-900])
        return True

    with raw_server(unfinished) as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        assert endpoint.request("GET", "/long", {}, first_bytes=1000).body == b"x" * 1000
        assert endpoint.request("GET", "/short", {}, first_bytes=1000).body == b"ok"
        assert len(server.requests) == 2


def test_a_redirect_is_not_followed() -> None:
    def elsewhere(channel: socket.socket, _: bytes) -> bool:
        channel.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        return True

    with raw_server(elsewhere) as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        assert endpoint.request("GET", "/", {}).status == 302
        assert len(server.requests[0]) == 1


def test_a_host_of_ones_own_takes_the_place_of_the_servers() -> None:
    with raw_server() as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        endpoint.request("GET", "/", {"host": "other.example"})
        assert server.requests[0][0].lower().count(b"\r\nhost:") == 1
        assert b"host: other.example" in server.requests[0][0].lower()


def test_threads_have_connections_of_their_own() -> None:
    together = threading.Barrier(4)

    def meet(channel: socket.socket, request: bytes) -> bool:
        together.wait(timeout=30)  # so that all four are under way at once
        channel.sendall(reply(request.split()[1]))
        return True

    with raw_server(meet) as server, closing(HttpEndpoint(server.url, timeout=30)) as endpoint:
        found: dict[str, bytes] = {}
        threads = [
            threading.Thread(target=lambda path=path: found.update({path: endpoint.request("GET", path, {}).body}))
            for path in ("/a", "/b", "/c", "/d")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {path: path.encode() for path in ("/a", "/b", "/c", "/d")}


def test_a_forked_process_has_connections_of_its_own() -> None:
    """A parent and a child that shared one would read each other's responses."""

    def pid(channel: socket.socket, request: bytes) -> bool:
        channel.sendall(reply(request.split()[1]))
        return True

    with raw_server(pid) as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        endpoint.request("GET", "/before", {})
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if endpoint.request("GET", "/child", {}).body == b"/child" else 1)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert endpoint.request("GET", "/parent", {}).body == b"/parent"
        seen = [[request.split()[1] for request in requests] for requests in server.requests]
        assert seen == [[b"/before", b"/parent"], [b"/child"]]


def test_what_is_no_json_is_refused() -> None:
    for body in (b"", b"{", b"[" * 1_000_000, b"\xff"):
        with pytest.raises(HttpError, match="no JSON"):
            http_endpoint.HttpResponse(200, "OK", {}, body).json()
    assert http_endpoint.HttpResponse(200, "OK", {}, json.dumps({"a": 1}).encode()).json() == {"a": 1}


def test_nobody_listens() -> None:
    with pytest.raises(HttpError, match=r"^\[Errno 111\] Connection refused$"):
        HttpEndpoint("http://127.0.0.1:9", timeout=1).request("GET", "/", {})


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "https://h", "http://", "http://127.0.0.1:port", "http://[half"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        HttpEndpoint(url, timeout=1)


def test_a_server_that_closes_after_each_response_is_asked_each_time() -> None:
    with raw_server(ok_and_close) as server, closing(HttpEndpoint(server.url, timeout=10)) as endpoint:
        for _ in range(3):
            assert endpoint.request("GET", "/", {}).body == b"ok"
        assert sum(len(requests) for requests in server.requests) in (3, 4, 5), (
            "at most once more for each but the first"
        )
