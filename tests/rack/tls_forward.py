"""A way in clear, on this host, to what answers over TLS on a machine of the rack."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading


def forward(address: str, port: int, authority: str) -> int:
    """Return a port of this host's loopback address behind which a server answers that an authority vouches for.

    It is there until the process ends.
    """
    context = ssl.create_default_context(cadata=authority)
    own = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            client, _ = own.accept()
            threading.Thread(target=_join, args=[client, address, port, context], daemon=True).start()

    threading.Thread(target=serve, daemon=True, name=f"forward to {address}:{port}").start()
    chosen: int = own.getsockname()[1]
    return chosen


def _join(client: socket.socket, address: str, port: int, context: ssl.SSLContext) -> None:
    # Where the server is not reached, the client sees that its connection ends.
    with contextlib.suppress(OSError), client:
        plain = socket.create_connection((address, port), timeout=60)
        with context.wrap_socket(plain, server_hostname=address) as server:
            back = threading.Thread(target=_pump, args=[server, client], daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
