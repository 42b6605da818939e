"""One file over HTTP(S), from where the site lists: each redirect is judged as the first address is.

The connection goes to an IP address that was judged, and no name is looked up a second time. A proxy that the shell
names is not used: it would look names up itself.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urljoin

from appliance.data import DataError
from appliance.http_sources import HttpSources, Place, RefusedError

REDIRECTS = 5
SECONDS = 60.0  # without a byte
PIECE_BYTES = 8 * 2**20
STATUS = http.HTTPStatus
REDIRECTED = (STATUS.MOVED_PERMANENTLY, STATUS.FOUND, STATUS.SEE_OTHER, STATUS.TEMPORARY_REDIRECT, 308)
BY_HAND = "download it yourself, and put it on S3 (`appliance data put`)"
HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "appliance-ingest"}


class NotThereError(DataError):
    """The server says that there is nothing at an address (404)."""


class HttpError(OSError):
    """A server is not reached, has a fault, or breaks off: it may answer another time."""


@contextlib.contextmanager
def answered(url: str, sources: HttpSources) -> Iterator[http.client.HTTPResponse]:
    """The answer whose body is a file, at an address or where that leads.

    Raises:
        DataError: the site does not list it, or it is not handed out as a file is; ``NotThereError`` where it is not
            there.
        HttpError: the server is not reached, or has a fault.
    """
    at = url
    for _ in range(REDIRECTS + 1):
        connection = _connected(url, at, sources)
        try:
            answer = _answer(url, connection)
            if answer.status in REDIRECTED and answer.headers["location"]:
                at = urljoin(at, answer.headers["location"])
                continue
            _check(url, answer)
            yield answer
            return
        except http.client.HTTPException as error:
            raise HttpError(f"{url}: the answer is none of HTTP: {error!r}") from error
        finally:
            connection.close()
    raise DataError(f"{url}: leads on {REDIRECTS + 1} times: {BY_HAND}")


def _answer(url: str, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    try:
        return connection.getresponse()
    except OSError as error:
        raise HttpError(f"{url}: the server does not answer ({error}): try again later") from error


def _connected(url: str, at: str, sources: HttpSources) -> http.client.HTTPConnection:
    """A connection that was asked for an address."""
    where = url if at == url else f"{url}: leads to {at}, which"
    try:
        place = sources.judged(at)
        addresses = sources.addresses(place)
    except RefusedError as error:
        listed = "; ".join(f"{each.scheme}://{each.host}:{each.port}{each.target}" for each in sources.beginnings)
        said = f"{where}{':' * (at == url)} {error}; the site lists {listed or 'nothing'}"
        raise DataError(f"{said}: {BY_HAND}, or ask your operators") from error
    except OSError as error:
        raise HttpError(f"{where}: the name {place.host} is not known: {error}") from error
    failure: OSError | None = None
    for address in addresses:
        connection = _Connection(place, address)
        try:
            connection.request("GET", place.target, headers=HEADERS)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise HttpError(
        f"{where}: {place.host} ({', '.join(addresses)}) is not reached: {failure}. What your programs reach outside "
        "of the facility is for your operators to say"
    ) from failure


def _check(url: str, answer: http.client.HTTPResponse) -> None:
    """Raise ``DataError`` or ``HttpError`` for what is no file's body."""
    said = f"{answer.status} {answer.reason}".strip()
    if answer.status in (STATUS.UNAUTHORIZED, STATUS.FORBIDDEN):
        raise DataError(f"{url}: wants a log-in, or refuses ({said}): {BY_HAND}")
    if answer.status >= STATUS.INTERNAL_SERVER_ERROR or answer.status == STATUS.TOO_MANY_REQUESTS:
        raise HttpError(f"{url}: the server has a fault, or too much to do ({said}): try again later")
    if answer.status != STATUS.OK:
        kind = NotThereError if answer.status == STATUS.NOT_FOUND else DataError
        raise kind(f"{url}: is not there, or not as a file ({said}): look at the address in a browser")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise DataError(f"{url}: is sent compressed, though it was asked for as it is: {BY_HAND}")
    if answer.length is None and not answer.chunked:
        raise DataError(f"{url}: the server does not say where it ends, so half of it would not be noticed: {BY_HAND}")


class Body:
    """The bytes of an answer, in pieces.

    Attributes:
        failure: why it broke off, if it did; obstore, which is given the bytes, keeps that to itself.
    """

    def __init__(self, url: str, answer: http.client.HTTPResponse):
        self._url, self._answer = url, answer
        self.failure: HttpError | None = None

    def __iter__(self) -> Iterator[bytes]:
        left = self._answer.length
        try:
            while piece := self._answer.read(PIECE_BYTES):
                left = None if left is None else left - len(piece)
                yield piece
            if left:
                raise OSError(f"{left:,} bytes before its end")
        except (http.client.HTTPException, OSError) as error:
            self.failure = HttpError(f"{self._url}: the answer breaks off ({error}): ask for the same again")
            raise self.failure from error


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was judged, in the name of a host."""

    def __init__(self, place: Place, address: str):
        super().__init__(place.host, place.port, timeout=SECONDS)
        self._address = address
        self._tls = ssl.create_default_context() if place.scheme == "https" else None
        self.default_port = http.client.HTTPS_PORT if self._tls else http.client.HTTP_PORT

    def connect(self) -> None:
        # As the parent class, which would look up the name.
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
