"""HTTP servers of the tests, each in a thread, of which nothing is left at the end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """What all handlers share; each says what it answers in ``do_GET`` and the like."""

    # An answer that is sent in pieces waits 40 ms for the client to confirm the first (Nagle's algorithm).
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


class _Server(ThreadingHTTPServer):
    """Clients keep their connections: `end_connections` ends these, and so the threads that wait for more."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, *arguments: Any, name: str) -> None:
        super().__init__(*arguments)
        self._name, self._connections = name, set[socket.socket]()

    def process_request(self, request: Any, client_address: Any) -> None:
        # Here, and not in the thread, which may begin after `end_connections`: nobody would end it then.
        self._connections.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        threading.current_thread().name = self._name
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.discard(request)

    def end_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):  # the client was quicker
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], address: str = "127.0.0.1", name: str = "server") -> Iterator[int]:
    """Serve until the end of the block; gives the port. ``name`` is that of all of the server's threads."""
    server = _Server((address, 0), handler, name=name)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name=name)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.end_connections()
        server.server_close()
        thread.join()
