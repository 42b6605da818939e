"""One question to an HTTP server that is not trusted to be quick, short or whole."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from appliance.placement.errors import MapError

MAX_BYTES = 256 * 2**20  # of JSON; a million placement groups of three replicas take some 20 MB


@dataclass(frozen=True)
class Answer:
    """What came back: the body is unpacked and whole."""

    status: int
    reason: str
    etag: str | None
    body: bytes

    def parsed(self) -> object:
        """Return the body as JSON, or raise ``MapError``."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise MapError(f"its answer is no JSON ({error})") from error


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    limit: float = 20.0,
) -> Answer:
    """Send a request and return the whole answer.

    ``limit`` is the time for all of it in seconds. Raises ``OSError`` (``TimeoutError`` among them),
    ``http.client.HTTPException``, and ``MapError`` for an answer that is too long or damaged.
    """
    connection.connect()
    with _deadline(connection.sock, limit):
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        found = bytearray()
        while piece := response.read(2**20):
            found += piece
            if len(found) > MAX_BYTES:
                raise MapError(f"it sends more than {MAX_BYTES} bytes")
    whole = _unpacked(bytes(found)) if response.getheader("Content-Encoding") == "gzip" else bytes(found)
    return Answer(response.status, response.reason, response.getheader("ETag"), whole)


@contextlib.contextmanager
def _deadline(channel: socket.socket, limit: float) -> Iterator[None]:
    """Let whatever is done with a socket fail with ``TimeoutError`` once the time is over.

    The socket's own timeout counts anew with every byte, so a server that sends one a second, in a header or in the
    body, would be listened to for ever.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            channel.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(limit, end)
    watch.daemon = True
    watch.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if over.is_set():
            raise TimeoutError(f"it answers too slowly: not done in {limit:g} s") from None
        raise
    finally:
        watch.cancel()
    if over.is_set():  # an answer without a length ends where the socket ends
        raise TimeoutError(f"it answers too slowly: not done in {limit:g} s")


def _unpacked(packed: bytes) -> bytes:
    try:
        unpacker = zlib.decompressobj(wbits=31)
        plain = unpacker.decompress(packed, MAX_BYTES)
    except zlib.error as error:
        raise MapError(f"its gzip is damaged ({error})") from error
    if not unpacker.eof:
        raise MapError("its gzip ends too soon")
    return plain
