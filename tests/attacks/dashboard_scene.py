"""Two researchers with a server and a cluster each, and the ways by which somebody may ask for a dashboard."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import intruder
from hub_session import HubSession
from machines import FACILITY, RACK, STORES
from researcher import Notebook, prepared_notebook

SETUP = """
    from dask_gateway import Gateway
    gateway = Gateway()
    cluster = gateway.new_cluster(worker_memory=1.0)
    cluster.scale(1)
    client = cluster.get_client()
    client.wait_for_workers(1, timeout=120)
    say()
"""
TELL = """
    (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
    def where(dask_scheduler):
        return dask_scheduler.address, dask_scheduler.http_server.port
    address, port = client.run_on_scheduler(where)
    say(
        name=cluster.name, link=cluster.dashboard_link, client_link=client.dashboard_link,
        certificate=cluster.security.tls_cert, key=cluster.security.tls_key,
        scheduler=[address.split("//")[1].split(":")[0], port],
        worker=[worker["host"], worker["services"]["dashboard"]],
    )
"""
END = "client.close(); cluster.shutdown(); say()"

# Asks for a page over TLS or without, with a certificate or without, and tells the status and the beginning of the
# answer, or the name of the error.
FETCH = """
import http.client, ssl, tempfile

def fetch(host, port, path, tls=True, certificate="", name=None):
    try:
        with socket.create_connection((host, port), timeout=30) as own:
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                if certificate:
                    with tempfile.NamedTemporaryFile("w") as file:
                        file.write(certificate)
                        file.flush()
                        context.load_cert_chain(file.name)
                own = context.wrap_socket(own, server_hostname=name)
            own.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
            answer = http.client.HTTPResponse(own)
            answer.begin()
            return [answer.status, answer.read().decode(errors="replace")[:400]]
    except (OSError, http.client.HTTPException) as error:
        return [0, type(error).__name__]

say([fetch(**each) for each in json.loads(ASKED)])
"""
# What a server that ends a handshake, or that takes plain HTTP for a faulty one, looks like from outside.
NO_ANSWER = {
    "SSLError",
    "SSLEOFError",
    "SSLZeroReturnError",
    "ConnectionResetError",
    "RemoteDisconnected",
    "BrokenPipeError",
}


@dataclass(frozen=True)
class Answer:
    """What came back: without following where it leads."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def location(self) -> str:
        """Where it leads; empty where it leads nowhere."""
        return self.headers.get("location", "")


@dataclass(frozen=True)
class Owner:
    """A researcher with a server, a cluster and a token of the hub's."""

    user: str
    token: str
    notebook: Notebook
    cluster: str
    link: str
    client_link: str
    pem: str
    scheduler: tuple[str, int]
    worker: tuple[str, int]

    @property
    def store(self) -> str:
        """The machine that the scheduler runs on."""
        return machine_of(self.scheduler[0])

    def page(self) -> str:
        """The address of the dashboard with a key, as the owner gets it."""
        answer = visit(self.link, self.token)
        assert answer.status == 302, answer
        return answer.location


def machine_of(address: str) -> str:
    """Return the storage machine of an address."""
    (found,) = [name for name in STORES if RACK.machine(name).address == address]
    return found


@contextlib.contextmanager
def owner(user: str) -> Iterator[Owner]:
    """Start a server and a cluster of a researcher's; both end in the end."""
    session = HubSession(FACILITY.front, user)
    session.log_in(FACILITY.password(user))
    session.stop()
    session.start()
    try:
        token = json.loads(session.ask(f"/hub/api/users/{user}/tokens", data=b'{"expires_in": 3600}'))["token"]
        with prepared_notebook(FACILITY, user, SETUP, END) as notebook:
            told = notebook.run(TELL)
            yield Owner(
                user=user,
                token=token,
                notebook=notebook,
                cluster=told["name"],
                link=told["link"],
                client_link=told["client_link"],
                pem=told["certificate"] + told["key"],
                scheduler=tuple(told["scheduler"]),
                worker=tuple(told["worker"]),
            )
    finally:
        session.stop()


def visit(path: str, token: str = "", elsewhere: str = "", kind: str = "token", **headers: str) -> Answer:
    """Ask for a path of the hub, of a researcher's server, or in clear of another address, with somebody's token."""
    front, plain = FACILITY.front, urlsplit(elsewhere)
    origin = front.of(path.split("/")[2]) if path.startswith("/user/") else front.url
    connection = (
        http.client.HTTPConnection(str(plain.hostname), plain.port, timeout=60)
        if elsewhere
        else front.connection(urlsplit(origin).netloc, timeout=60)
    )
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        told["Authorization"] = f"{kind} {token}"
    try:
        connection.request("GET", path, headers=told)
        answer = connection.getresponse()
        # The connection of a WebSocket stays open.
        body = "" if answer.status == 101 else answer.read().decode(errors="replace")
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)
    finally:
        connection.close()


def fetches(machine: str, user: str, *asked: dict[str, Any]) -> list[tuple[int, str]]:
    """Ask from a machine as a researcher in the sandbox, or as root; the status, and the answer or the error's name."""
    said = intruder.run(machine, user, FETCH.replace("ASKED", repr(json.dumps(asked))))
    return [(int(status), str(text)) for status, text in said]


def fetch(machine: str, user: str, host: str, port: int, path: str = "/status", **how: Any) -> tuple[int, str]:
    """Ask for one page; see `fetches`."""
    return fetches(machine, user, {"host": host, "port": port, "path": path, **how})[0]
