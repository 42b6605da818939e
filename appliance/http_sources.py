"""Which addresses of HTTP(S) are fetched from: those that the site lists, and what they lead to is judged too.

With the standard library only: the preflight judges the list with it, `appliance.data` each address, and
``python -m appliance.http_sources FILE`` a file before it is put in place.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

SETTINGS = Path("/etc/appliance/ingest-sources.json")  # role `jupyterhub`
PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
IN_PATHS = "/%:@!$&'()*+,;=~-._"  # what is not written otherwise in a path (RFC 3986, section 3.3)
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an address of version 4
FIX = (
    "write https://NAME, https://NAME:PORT or https://NAME/FOLDER/, in lower case, without a name of a user and a query"
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RefusedError(ValueError):
    """An address that is not fetched from; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where something is fetched.

    Attributes:
        scheme: http or https.
        host: a name or an address.
        port: that is asked.
        target: path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def address(self) -> Address | None:
        """The host where it is an address and no name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def beginning(text: str) -> Place:
    """One entry of the list, whose ``target`` is the folder. Raises ``RefusedError`` for what is none."""
    place = _place(text)
    sound = place.address is not None or (HOST.fullmatch(place.host) and not place.host.split(".")[-1].isdigit())
    if not sound or "?" in place.target or "*" in text or not place.target.endswith("/"):
        raise RefusedError(FIX)
    return place


def _place(url: str) -> Place:
    """The parts of an address. Raises ``RefusedError`` for one that is not of HTTP(S), or could be read in two ways."""
    if any(ord(c) < 0x20 or c in "\\\x7f" for c in url):
        raise RefusedError("has characters that no address has")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise RefusedError(str(error)) from error
    if parts.scheme not in PORTS:
        raise RefusedError(f"is not fetched: {parts.scheme or 'no scheme'} is neither https nor http")
    if parts.username is not None or parts.password is not None:
        raise RefusedError("has the name of a user in it: what wants a log-in, download yourself")
    if not host or not host.isascii() or port == 0 or parts.fragment:
        raise RefusedError("has no host or port, a host that is not of ASCII, or a mark (#) at its end")
    if any(segment in (".", "..") for segment in unquote(parts.path).replace("\\", "/").split("/")):
        raise RefusedError("has . or .. in its path: write the path as it is")
    return Place(parts.scheme, host, PORTS[parts.scheme] if port is None else port, _target(parts))


def _target(parts: SplitResult) -> str:
    query = f"?{quote(parts.query, safe=IN_PATHS + '?')}" if parts.query else ""
    return (quote(parts.path, safe=IN_PATHS) or "/") + query


@dataclass(frozen=True)
class HttpSources:
    """What a site lists.

    Attributes:
        beginnings: of addresses that are fetched from.
        networks: to whose addresses their names may lead, though these are private ones.
    """

    beginnings: tuple[Place, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parsed(cls, beginnings: Sequence[str], networks: Sequence[str] = ()) -> HttpSources:
        """Of texts. Raises ``ValueError`` for what is none."""
        listed = [ipaddress.ip_network(each, strict=False) for each in networks]
        return cls(tuple(map(beginning, beginnings)), tuple(listed))

    @classmethod
    def of_this_machine(cls) -> HttpSources:
        """Those of the site; nothing where its role has written none."""
        return cls.read(SETTINGS) if SETTINGS.is_file() else cls()

    @classmethod
    def read(cls, path: Path) -> HttpSources:
        """Of a file. Raises ``ValueError`` or ``OSError``."""
        told = json.loads(path.read_text(encoding="utf-8"))
        return cls.parsed(told["sources"], told["networks"])

    def judged(self, url: str) -> Place:
        """Where an address leads. Raises ``RefusedError`` where the site does not list it."""
        place = _place(url)
        for listed in self.beginnings:
            same = (listed.scheme, listed.host, listed.port) == (place.scheme, place.host, place.port)
            if same and place.target.startswith(listed.target):
                return place
        raise RefusedError("is not in the site's list of what is fetched")

    def addresses(self, place: Place) -> list[str]:
        """The IP addresses that may be asked for a place: public ones, those of listed networks, and a listed address.

        Raises:
            OSError: the name is unknown.
            RefusedError: its name leads to other addresses only.
        """
        if place.address is not None:
            return [place.host]  # `judged` has found it in the list
        told = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(each[4][0]) for each in told))
        allowed = [each for each in found if self._is_allowed(ipaddress.ip_address(each.partition("%")[0]))]
        if not allowed:
            raise RefusedError(
                f"leads to {', '.join(found)}, a private, loopback or reserved address that the site does not list"
            )
        return allowed

    def _is_allowed(self, address: Address) -> bool:
        if any(address in network for network in self.networks):
            return True
        inner = _inner(address)
        if inner is not None:
            return self._is_allowed(inner)
        return address.is_global and not address.is_multicast


def _inner(address: Address) -> Address | None:
    """The address of version 4 to which one of version 6 leads; None where it leads to itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


if __name__ == "__main__":
    HttpSources.read(Path(sys.argv[1]))
