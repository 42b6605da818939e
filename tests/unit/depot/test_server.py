"""The depot's own nginx on a loopback port, in front of a real HTTP server that plays the mirror."""

from __future__ import annotations

import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import http_serving
import pytest
from free_ports import free_ports
from http_serving import serving
from waiting import until

from appliance.depot import server, traffic
from appliance.depot.config import Settings, nameservers
from appliance.depot.errors import DepotError
from appliance.depot.layout import Depot


class Mirror:
    """A Debian mirror with two files: what was asked of it is counted."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.release = b"Suite: trixie, first"
        self.may_answer = threading.Event()  # packages; indexes are answered at once
        self.may_answer.set()
        mirror = self

        class Handler(http_serving.Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                mirror.asked[self.path] += 1
                if self.path.startswith("/debian/pool/"):
                    mirror.may_answer.wait()
                    body, etag = b"package " * 1000, '"p"'
                elif self.path == "/debian/dists/trixie/InRelease":
                    body, etag = mirror.release, f'"{hash(mirror.release)}"'
                else:
                    self.send_error(404)
                    return
                if self.headers.get("If-None-Match") == etag:
                    self.send_response(304)
                    self.send_header("ETag", etag)
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("ETag", etag)
                self.end_headers()
                self.wfile.write(body)

        self._serving = ExitStack()
        self._port = self._serving.enter_context(serving(Handler))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/debian"

    def stop(self) -> None:
        self._serving.close()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    made = Mirror()
    yield made
    made.stop()


@pytest.fixture
def depot() -> Iterator[Depot]:
    # Not pytest's own directory, which nobody but its owner may pass: nginx's workers are others.
    with tempfile.TemporaryDirectory(prefix="depot-") as directory:
        Path(directory).chmod(0o755)
        made = Depot(Path(directory) / "depot")
        yield made
        server.down(made)


@pytest.fixture
def settings(mirror: Mirror) -> Settings:
    return Settings(listen="127.0.0.1", port=free_ports(1)[0], debian=mirror.address, refresh="1s")


def _connections(port: int) -> int:
    """How many clients of a loopback port there are."""
    sides = (line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum((local, state) == (f"0100007F:{port:04X}", "01") for local, _, state in sides)


def _get(settings: Settings, path: str) -> tuple[bytes, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{settings.port}{path}", timeout=20) as answer:
        return answer.read(), answer.headers.get("X-Depot-Cache", "")


def _expired(settings: Settings, path: str) -> tuple[bytes, str]:
    """The first answer after the time for which an index is not asked for anew."""
    answers: list[tuple[bytes, str]] = []
    until(lambda: answers.append(_get(settings, path)) or answers[-1][1] != "HIT")
    return answers[-1]


def test_a_package_is_fetched_once_however_many_ask_at_once(depot: Depot, settings: Settings, mirror: Mirror) -> None:
    server.up(depot, settings)

    mirror.may_answer.clear()
    with ThreadPoolExecutor(4) as machines:
        asked = machines.map(lambda _: _get(settings, "/debian/pool/main/a/a_1%2b2~3.deb")[0], range(4))
        until(lambda: _connections(settings.port) == 4)
        mirror.may_answer.set()
        bodies = list(asked)

    assert set(map(len, bodies)) == {8000}
    assert sum(mirror.asked.values()) == 1
    figures = traffic.read_log(depot.access_log)["debian"]
    assert (figures.requests, figures.hits, figures.misses) == (4, 3, 1)
    assert 8000 < figures.bytes_fetched < 9000


def test_what_was_fetched_outlives_the_depot_and_the_mirror(depot: Depot, settings: Settings, mirror: Mirror) -> None:
    server.up(depot, settings)
    _get(settings, "/debian/pool/main/a/a.deb")
    _get(settings, "/debian/dists/trixie/InRelease")
    server.down(depot)
    server.up(depot, settings)
    mirror.stop()

    assert _expired(settings, "/debian/dists/trixie/InRelease") == (b"Suite: trixie, first", "STALE")
    assert _get(settings, "/debian/pool/main/a/a.deb")[1] == "HIT"


def test_an_index_is_asked_for_anew_and_sent_only_when_it_changed(
    depot: Depot, settings: Settings, mirror: Mirror
) -> None:
    server.up(depot, settings)
    path = "/debian/dists/trixie/InRelease"

    assert _get(settings, path)[1] == "MISS"
    assert _expired(settings, path) == (b"Suite: trixie, first", "REVALIDATED")
    mirror.release = b"Suite: trixie, second"
    assert _expired(settings, path)[0] == b"Suite: trixie, second"


def test_static_content_is_served_and_nothing_else_of_the_depot(depot: Depot, settings: Settings) -> None:
    server.up(depot, settings)
    (depot.wheels / "a.whl").write_bytes(b"wheel")
    (depot.root / "signing.key").write_text("secret")

    assert _get(settings, "/wheels/a.whl")[0] == b"wheel"
    for path in ("/signing.key", "/wheels/../signing.key", "/wheels/%2e%2e/%2e%2e/signing.key", "/nginx/nginx.conf"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            _get(settings, path)
        with caught.value as refusal:
            assert refusal.code in (400, 404)


def test_up_again_changes_nothing_and_other_settings_reload(depot: Depot, settings: Settings) -> None:
    assert server.up(depot, settings) == "started"
    pid = server.running_pid(depot)

    assert server.up(depot, settings) == "unchanged"
    assert server.up(depot, replace(settings, refresh="2s")) == "reloaded"
    assert server.running_pid(depot) == pid
    assert server.down(depot)
    assert not server.down(depot)


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_made(depot: Depot, settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = replace(settings, port=other.getsockname()[1], debian=None)

        with pytest.raises(DepotError) as caught:
            server.up(depot, taken)

    assert f"port 127.0.0.1:{taken.port}" in str(caught.value)
    assert "--mirror" in str(caught.value)
    assert not depot.root.exists()


def test_a_pid_file_that_a_crash_left_counts_for_nothing(depot: Depot, settings: Settings) -> None:
    depot.run.mkdir(parents=True)
    depot.pid_file.write_text("1\n")

    assert server.running_pid(depot) is None
    assert server.up(depot, settings) == "started"


def test_settings_that_nginx_refuses_leave_the_running_one_alone(depot: Depot, settings: Settings) -> None:
    server.up(depot, settings)
    before = depot.config.read_text()

    with pytest.raises(DepotError, match="refuses"):
        server.up(depot, replace(settings, refresh="soon"))

    assert depot.config.read_text() == before
    assert server.up(depot, settings) == "unchanged"


def test_resolvers_are_those_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("# local\nnameserver 192.0.2.1\nsearch a b\nnameserver fe80::1%eth0\n")

    assert nameservers(tmp_path / "resolv.conf") == ("192.0.2.1", "[fe80::1]")
