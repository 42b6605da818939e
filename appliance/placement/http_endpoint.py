"""Requests to an HTTP server that is not trusted to be quick, brief or complete."""

from __future__ import annotations

import json
import math
import os
import socket
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import HTTPError, MaxRetryError, ReadTimeoutError

from appliance.placement.errors import HttpError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_BYTES = 256 * 2**20  # of a body; the map of a million placement groups of three replicas takes some 20 MB
SLOW = 10  # times the timeout that a complete response may take
CONNECTIONS = 8  # to one server at once; further threads wait for one of them


@dataclass(frozen=True)
class HttpResponse:
    """A complete response. The names of ``headers`` are found in upper and lower case; the body is unpacked."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, or raise ``HttpError``."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise HttpError(f"its answer is no JSON ({error})") from error


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of an address ``http://HOST[:PORT]``, or raise ``ValueError``."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is no address of an HTTP server")
    return parts.hostname, parts.port or 80


class HttpEndpoint:
    """The server at ``url`` (``http://HOST[:PORT]``). Threads may share one, and it survives a fork.

    Args:
        url: The server's address.
        timeout: Seconds for the connection, and for each wait for more bytes.
        response_timeout: Seconds for a complete response; ``SLOW`` timeouts if it is not given.
        keep_alive: Whether a connection is used again for the next request.

    Raises:
        ValueError: ``url`` is no such address.
    """

    def __init__(
        self, url: str, timeout: float, response_timeout: float | None = None, keep_alive: bool = True
    ) -> None:
        self._address = address_of(url)
        self.url = url
        self.host = urllib.parse.urlsplit(url).netloc  # as the header Host has it
        self._timeout = timeout
        self._response_timeout = SLOW * timeout if response_timeout is None else response_timeout
        self._keep_alive = keep_alive
        self._made: tuple[int, urllib3.HTTPConnectionPool] | None = None  # by which process, and its connections

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        first_bytes: int | None = None,
    ) -> HttpResponse:
        """Send a request and return the response, whatever its status.

        A request is sent once more where the connection was lost before the response began, as one that was kept
        open is when a server restarts: so it must be one that does no harm twice.

        Args:
            method: Such as ``GET``.
            path: Path and query, percent-encoded.
            headers: Sent as they are.
            body: What is sent with it.
            first_bytes: Return only so much of the body, and do not wait for the rest.

        Raises:
            HttpError: There is no response in time, or it is damaged, breaks off or has more than ``MAX_BYTES``.
        """
        pool = self._pool()
        told = headers if self._keep_alive else {**headers, "Connection": "close"}
        try:
            response = pool.urlopen(method, path, body, told, redirect=False, preload_content=False)
            try:
                found = _body(response, first_bytes)
            finally:
                if not response.closed:
                    response.close()  # what is left unread must not become the next response
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise HttpError(_cause(error)) from error
        finally:
            if not self._keep_alive:
                pool.close()
        return HttpResponse(response.status, response.reason or "", response.headers, found)

    def close(self) -> None:
        """End the connections that are open; the next request makes a new one."""
        made, self._made = self._made, None
        if made is not None:
            made[1].close()

    def _pool(self) -> urllib3.HTTPConnectionPool:
        if self._made is not None and self._made[0] == os.getpid():
            return self._made[1]
        pool = _Pool(
            *self._address,
            timeout=self._timeout,
            maxsize=CONNECTIONS,
            block=True,
            retries=_OnceMore(total=1, connect=False, allowed_methods=None),
            response_timeout=self._response_timeout,
        )
        if self._keep_alive:
            # With the process: a forked one that used its parent's connections would read the other's responses.
            self._made = (os.getpid(), pool)
        return pool


class _OnceMore(urllib3.Retry):
    """Repeats what was lost with its connection, and nothing that timed out: who is in a hurry waits once."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


class _DeadlineSocket(socket.socket):
    """A socket that is read from until a moment on the monotonic clock.

    A socket's own timeout counts anew with every byte, so a server that sends one a second, in a header or in the
    body, would be listened to for ever.
    """

    deadline = math.inf
    allowed = math.inf  # seconds, for the message

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        timeout = self.gettimeout()
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"it answers too slowly: not done in {self.allowed:g} s")
        if timeout is not None and timeout <= left:
            return super().recv_into(buffer, nbytes, flags)
        self.settimeout(left)
        try:
            return super().recv_into(buffer, nbytes, flags)
        except TimeoutError:
            raise TimeoutError(f"it answers too slowly: not done in {self.allowed:g} s") from None
        finally:
            self.settimeout(timeout)


class _Connection(HTTPConnection):
    sock: _DeadlineSocket

    def __init__(self, host: str, port: int, *, response_timeout: float, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._response_timeout = response_timeout

    def connect(self) -> None:
        super().connect()
        timeout = self.sock.gettimeout()
        self.sock = _DeadlineSocket(fileno=self.sock.detach())
        self.sock.settimeout(timeout)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as its base class has it
        self.sock.allowed = self._response_timeout
        self.sock.deadline = time.monotonic() + self._response_timeout
        return super().getresponse()


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


def _body(response: urllib3.BaseHTTPResponse, first_bytes: int | None) -> bytes:
    found = bytearray()
    while piece := response.read(2**20 if first_bytes is None else first_bytes - len(found)):
        found += piece
        if first_bytes is not None and len(found) >= first_bytes:
            break
        if len(found) > MAX_BYTES:
            raise HttpError(f"it sends more than {MAX_BYTES} bytes")
    return bytes(found)


def _cause(error: Exception) -> str:
    """Return what happened in the words of whatever noticed it, without the library's wrapping."""
    while True:
        inner = error.reason if isinstance(error, MaxRetryError) else error.__cause__
        if inner is None and len(error.args) > 1 and isinstance(error.args[-1], Exception):
            inner = error.args[-1]  # ProtocolError("Connection aborted.", the cause)
        if not isinstance(inner, Exception):
            return str(error) or type(error).__name__
        error = inner
