"""The client against a real HTTP server on the loopback, which gives good answers and bad ones."""

import gzip
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import http_serving
import pytest
from clocks import Clock
from example_map import document
from http_serving import serving

from appliance.placement import MapClient, PlacementUnavailable

BODY = json.dumps(document()).encode()


@dataclass
class Server:
    """What the server answers, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = BODY
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"42-a"'})
    trickle: float = 0.0  # seconds between two bytes of the body
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)  # a question
    may_answer: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(http_serving.Handler):
        def do_GET(self) -> None:
            tag = self.headers.get("If-None-Match")
            told.asked.append((self.path, tag))
            told.arrived.set()
            told.may_answer.wait()
            unchanged = tag is not None and tag == told.headers.get("ETag")
            self.send_response(304 if unchanged else told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if not unchanged:
                for at in range(len(told.body)) if told.trickle else ():
                    self.wfile.write(told.body[at : at + 1])
                    if told.ended.wait(told.trickle):
                        return
                if not told.trickle:
                    self.wfile.write(told.body)

    with serving(Handler) as port:
        told.url = f"http://127.0.0.1:{port}"
        yield told
        told.ended.set()
        told.may_answer.set()


def test_a_map_is_fetched_once_then_confirmed(server: Server, clock: Clock) -> None:
    client = MapClient(server.url, max_age=5, clock=clock)
    first = client.get()
    assert first.epoch == 42
    assert client.get() is first
    clock.now += 5
    assert client.get() is first, "a 304 keeps the map object itself"
    assert server.asked == [("/v1/map", None), ("/v1/map", '"42-a"')]


def test_a_new_map_replaces_the_old(server: Server, clock: Clock) -> None:
    client = MapClient(server.url, max_age=5, clock=clock)
    client.get()
    server.body, server.headers = json.dumps({**document(), "epoch": 43}).encode(), {"ETag": '"43-b"'}
    clock.now += 5
    assert client.get().epoch == 43


def test_gzip_is_unpacked(server: Server) -> None:
    server.body = gzip.compress(BODY)
    server.headers["Content-Encoding"] = "gzip"
    assert MapClient(server.url).get().epoch == 42


def test_a_bucket_that_the_map_lacks_is_asked_for_once_in_a_while(server: Server, clock: Clock) -> None:
    client = MapClient(server.url, max_age=5, clock=clock)
    client.get()
    client.get("alice")
    assert len(server.asked) == 1, "a bucket in the map costs nothing"
    client.get("new bucket")
    client.get("new bucket")
    assert [path for path, _ in server.asked] == ["/v1/map", "/v1/map?bucket=new+bucket"]
    clock.now += 5
    client.get("new bucket")
    assert len(server.asked) == 3


def _truncated(server: Server) -> None:
    server.body = BODY[: len(BODY) // 2]


def _garbage(server: Server) -> None:
    server.body = b"<html>not a map</html>"


def _half_a_gzip(server: Server) -> None:
    server.body = gzip.compress(BODY)[:-20]
    server.headers["Content-Encoding"] = "gzip"


def _no_gzip(server: Server) -> None:
    server.headers["Content-Encoding"] = "gzip"


def _lying(server: Server) -> None:
    server.body = json.dumps({**document(), "osds": {"0": "store1"}}).encode()


def _not_ready(server: Server) -> None:
    server.status, server.body = 503, b'{"error": "no map yet: no monitors"}'


def _mute(server: Server) -> None:
    server.may_answer.clear()


def _slow(server: Server) -> None:
    server.trickle = 0.05  # faster than the timeout, and a quarter of a minute for the whole


def _nested(server: Server) -> None:
    server.body = b"[" * 1_000_000


def _older(server: Server) -> None:
    server.body = json.dumps({**document(), "epoch": 41}).encode()


FAULTS: list[tuple[Callable[[Server], None], str]] = [
    (_truncated, "no JSON"),
    (_garbage, "no JSON"),
    (_half_a_gzip, "no JSON"),
    (_no_gzip, "Error -3 while decompressing"),
    (_lying, "osds does not hold"),
    (_not_ready, "answered 503 .*no map yet: no monitors"),
    (_mute, "timed out"),
    (_slow, "not done in 0.5 s"),
    (_nested, "no JSON"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=[fault.__name__[1:] for fault, _ in FAULTS])
def test_a_bad_answer_is_no_map_and_an_old_map_stands_in(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Server], None], message: str
) -> None:
    monkeypatch.setattr("appliance.placement.http_endpoint.SLOW", 0.5 / 0.3)
    client = MapClient(server.url, timeout=0.3, max_age=5, max_stale=60, clock=clock)
    held = client.get()
    server.headers = {"ETag": '"43-b"'}
    fault(server)
    with pytest.raises(PlacementUnavailable, match=message):
        MapClient(server.url, timeout=0.3).get()
    clock.now += 10
    assert client.get() is held, "an old map costs a few remote reads, none makes all reads random"
    clock.now += 60
    with pytest.raises(PlacementUnavailable, match="epoch 42 was confirmed 70 s ago, which is too old"):
        client.get()


def test_a_map_older_than_the_one_held_is_not_taken_until_that_has_become_too_old(server: Server, clock: Clock) -> None:
    client = MapClient(server.url, max_age=5, max_stale=60, retry_after=2, clock=clock)
    held = client.get()
    server.headers = {"ETag": '"41-b"'}
    _older(server)
    clock.now += 10
    assert client.get() is held
    clock.now += 60
    assert client.get().epoch == 41, "the cluster was set back; waiting for its old epoch would take for ever"


def test_another_clusters_map_is_taken_whatever_its_epoch(server: Server, clock: Clock) -> None:
    client = MapClient(server.url, max_age=5, clock=clock)
    client.get()
    server.headers = {"ETag": '"1-b"'}
    server.body = json.dumps({**document(), "epoch": 1, "cluster": "another"}).encode()
    clock.now += 5
    assert client.get().epoch == 1


def test_a_service_that_is_down_is_left_alone_for_a_while(server: Server, clock: Clock) -> None:
    client = MapClient(server.url, max_age=5, retry_after=2, clock=clock)
    server.status = 500
    for _ in range(5):
        with pytest.raises(PlacementUnavailable, match="500"):
            client.get()
    assert len(server.asked) == 1
    server.status = 200
    clock.now += 2
    assert client.get().epoch == 42


def test_nothing_listens_there() -> None:
    with pytest.raises(PlacementUnavailable, match=r"http://127.0.0.1:9 gives no map"):
        MapClient("http://127.0.0.1:9").get()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:7483", "https://127.0.0.1:7483", "http://127.0.0.1:port", "http://[half", "ftp://x"]
)
def test_an_address_that_is_none_names_the_variable(url: str) -> None:
    with pytest.raises(PlacementUnavailable, match="APPLIANCE_PLACEMENT_URL"):
        MapClient(url)


def test_while_one_thread_asks_others_have_the_map_there_is(server: Server, clock: Clock) -> None:
    client = MapClient(server.url, timeout=60, max_age=5, clock=clock)
    held = client.get()
    clock.now += 5
    server.arrived.clear()
    server.may_answer.clear()
    asking = threading.Thread(target=client.get)
    asking.start()
    server.arrived.wait()
    assert client.get() is held
    assert asking.is_alive(), "this thread has waited for the other"
    server.may_answer.set()
    asking.join()


def test_threads_that_start_together_fetch_one_map(server: Server) -> None:
    client = MapClient(server.url, timeout=60)
    epochs: list[int] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        epochs.append(client.get().epoch)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert epochs == [42] * 8
    assert len(server.asked) == 1


def test_a_process_forked_while_another_thread_asks_asks_for_itself(server: Server, clock: Clock) -> None:
    """Neither the lock that the other thread holds nor its connection may come along."""
    client = MapClient(server.url, timeout=60, max_age=5, clock=clock)
    server.may_answer.clear()
    asking = threading.Thread(target=client.get)
    asking.start()
    server.arrived.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends it if it waits for a lock that nobody will give back
        try:
            os._exit(0 if client.get().epoch == 42 else 1)
        except BaseException:
            os._exit(2)
    server.may_answer.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    asking.join()
    assert client.get().epoch == 42
    assert [path for path, _ in server.asked] == ["/v1/map"] * 2
