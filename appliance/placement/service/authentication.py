"""Who may ask the placement service: the users of the object gateway, as the gateway itself says."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.placement.auth.tokens import LIFETIME, PATH, SCHEME, Token
from appliance.placement.errors import ClusterError, HttpError, PlacementError
from appliance.placement.http_endpoint import HttpEndpoint

BELIEVED = 300.0  # seconds that a verdict holds: a user who was removed is out after that
REMEMBERED = 10_000  # tokens; each process of a user's analysis has one of its own
ENOUGH = 64 * 2**10  # bytes of the gateway's answer: its owner comes before the list of buckets
REFUSALS = (http.client.BAD_REQUEST, http.client.UNAUTHORIZED, http.client.FORBIDDEN)
ANONYMOUS = "anonymous"  # what RGW calls whoever signs nothing


class TokenRefused(PlacementError):  # noqa: N818 - named as its callers say it
    """The caller has not shown to be a user of the facility; the message says why, and nothing of the token."""


@dataclass
class Authenticator:
    """Asks the gateway at ``endpoint`` (an http URL) whose token it is, and remembers what it said for a while.

    Threads may share one. Only good tokens are remembered: a bad one costs the gateway what it would cost the gateway
    if it were sent there. ``clock``: seconds since 1970, since tokens name the time of day.
    """

    endpoint: str
    timeout: float = 5.0
    clock: Callable[[], float] = time.time
    failure: str | None = None  # why the gateway could not be asked the last time
    counts: dict[str, int] = field(default_factory=lambda: {"accepted": 0, "refused": 0, "failed": 0})
    _cached: OrderedDict[bytes, tuple[str, float]] = field(default_factory=OrderedDict)  # digest: user, until when
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: HttpEndpoint = field(init=False)

    def __post_init__(self) -> None:
        self._server = HttpEndpoint(self.endpoint, self.timeout)

    def cached_user(self, header: str | None) -> str | None:
        """Return the user of a token that was found good lately; None for all others. Asks nobody."""
        digest = _digest(header or "")
        with self._lock:
            user, until = self._cached.get(digest, ("", 0.0))
            if user and self.clock() < until:
                return user
            self._cached.pop(digest, None)
        return None

    def authenticate(self, header: str | None) -> str:
        """Return the user whose token is in an ``Authorization`` header.

        Raises ``TokenRefused``, or ``ClusterError`` where the gateway does not say.
        """
        try:
            token = self._plausible(header)
            user = self._ask_gateway(token)
        except TokenRefused:
            self.counts["refused"] += 1
            raise
        except ClusterError as error:
            self.counts["failed"] += 1
            self.failure = str(error)
            raise
        self.failure = None
        self.counts["accepted"] += 1
        until = min(self.clock() + BELIEVED, token.made() + LIFETIME)
        with self._lock:
            self._cached[_digest(header or "")] = (user, until)
            while len(self._cached) > REMEMBERED:
                self._cached.popitem(last=False)
        return user

    def _plausible(self, header: str | None) -> Token:
        """Return the token if it is one of this time. What is plainly none is not worth a question to the gateway."""
        if not header:
            raise TokenRefused(f"no token: only users of the facility get answers (Authorization: {SCHEME} …)")
        token = Token.parse(header)
        if token is None:
            raise TokenRefused(f"the Authorization header holds no token ({SCHEME} ACCESS_KEY/TIME/SIGNATURE)")
        try:
            age = self.clock() - token.made()
        except ValueError as error:
            raise TokenRefused("the token's time is none") from error
        if abs(age) > LIFETIME:
            raise TokenRefused(
                f"the token is of {token.stamp}, {abs(age):.0f} s {'ago' if age > 0 else 'ahead'} by this machine's "
                f"clock, and lasts for {LIFETIME:.0f} s: make a new one, or set the clocks"
            )
        return token

    def close(self) -> None:
        """End the connections."""
        self._server.close()

    def _ask_gateway(self, token: Token) -> str:
        try:
            response = self._server.request("GET", PATH, token.request(), first_bytes=ENOUGH)
        except HttpError as error:
            raise ClusterError(f"the gateway at {self.endpoint} does not say whose token it is: {error}") from error
        if response.status in REFUSALS:
            code = _text(response.body, "Code") or response.status
            raise TokenRefused(f"the gateway does not take the token ({code})")
        if response.status != http.client.OK:
            raise ClusterError(f"the gateway at {self.endpoint} answered {response.status} to whose token it is")
        user = _text(response.body, "ListAllMyBucketsResult/Owner/ID")
        if not user or user == ANONYMOUS:
            raise TokenRefused("the gateway names no user for the token")
        return user


def _digest(header: str) -> bytes:
    # The memory holds no tokens: whoever reads it could be anybody for the rest of the quarter of an hour.
    return hashlib.sha256(header.strip().encode()).digest()


def _text(body: bytes, path: str) -> str:
    """Return the text of the first element that ``path`` ends at, in XML that may break off; empty if there is none."""
    open_: list[str] = []
    with contextlib.suppress(ElementTree.ParseError):  # what was read before it is there all the same
        for event, element in ElementTree.iterparse(io.BytesIO(body), ("start", "end")):  # noqa: S314 - 64 KiB of our own gateway's
            if event == "start":
                open_.append(element.tag.rpartition("}")[2])
                continue
            if "/".join(open_).endswith(path):
                return element.text or ""
            open_.pop()
    return ""
