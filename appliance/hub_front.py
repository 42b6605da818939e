"""The hub's front as a program reaches it: by its name over TLS, at an address that no DNS has to know.

With the standard library only.
"""

from __future__ import annotations

import dataclasses
import http.client
import socket
import ssl
import time
import urllib.request
from urllib.parse import urlsplit


@dataclasses.dataclass(frozen=True)
class Front:
    """Where browsers reach the hub.

    Attributes:
        url: the hub, without a path.
        address: the IP address that answers for the hub's name and all names below it.
        authority: the certificate that the front's goes back to, PEM.
        subdomains: whether each researcher's server has a name of its own.
    """

    url: str
    address: str
    authority: str
    subdomains: bool

    def of(self, user: str) -> str:
        """Return the address of a researcher's server, without a path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{user}.{parts.netloc}" if self.subdomains else self.url

    def opener(self, *handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
        """Return what opens the hub's pages, and no plain ones, whatever proxy the shell names."""
        return urllib.request.build_opener(urllib.request.ProxyHandler({}), _ByAddress(self), *handlers)

    def connection(self, host: str, timeout: float | None = None) -> http.client.HTTPSConnection:
        """Return a connection that asks the front for ``host``, a name with or without a port."""
        return _Connection(host, self, timeout)

    def days_left(self) -> float:
        """Return for how many days the certificate still holds; raises OSError where it is not taken at all."""
        connection = _Connection(urlsplit(self.url).netloc, self, timeout=30)
        connection.connect()
        try:
            told = connection.sock.getpeercert() or {}
        finally:
            connection.close()
        return (ssl.cert_time_to_seconds(str(told["notAfter"])) - time.time()) / 86400


class _ByAddress(urllib.request.HTTPSHandler):
    def __init__(self, front: Front) -> None:
        super().__init__()
        self._front = front

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection, request)  # type: ignore[arg-type]

    def _connection(self, host: str, timeout: float | None = None) -> http.client.HTTPSConnection:
        return self._front.connection(host, timeout)


class _Connection(http.client.HTTPSConnection):
    def __init__(self, host: str, front: Front, timeout: float | None) -> None:
        self._tls = ssl.create_default_context(cadata=front.authority)
        # As browsers, and Python before 3.13: sites' authorities are often made without key usages and identifiers.
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        super().__init__(host, timeout=timeout, context=self._tls)
        self._address = front.address

    def connect(self) -> None:
        # As the parent class, which would look up the name.
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
