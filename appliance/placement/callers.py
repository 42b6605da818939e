"""Who may ask the placement service: the users of the object gateway, as the gateway itself says."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.placement.errors import ClusterError, PlacementError
from appliance.placement.tokens import LIFETIME, PATH, SCHEME, Token

BELIEVED = 300.0  # seconds that a verdict holds: a user who was removed is out after that
REMEMBERED = 10_000  # tokens; each process of a user's analysis has one of its own
ENOUGH = 64 * 2**10  # bytes of the gateway's answer: its owner comes before the list of buckets
REFUSALS = (http.client.BAD_REQUEST, http.client.UNAUTHORIZED, http.client.FORBIDDEN)
ANONYMOUS = "anonymous"  # what RGW calls whoever signs nothing


class Refused(PlacementError):  # noqa: N818 - named as its callers say it
    """The caller has not shown to be a user of the facility; the message says why, and nothing of the token."""


@dataclass
class Callers:
    """Asks the gateway at ``endpoint`` (an http URL) whose token it is, and remembers what it said for a while.

    Threads may share one. Only good tokens are remembered: a bad one costs the gateway what it would cost the gateway
    if it were sent there. ``clock``: seconds since 1970, since tokens name the time of day.
    """

    endpoint: str
    timeout: float = 5.0
    clock: Callable[[], float] = time.time
    failure: str | None = None  # why the gateway could not be asked the last time
    counts: dict[str, int] = field(default_factory=lambda: {"accepted": 0, "refused": 0, "failed": 0})
    _known: OrderedDict[bytes, tuple[str, float]] = field(default_factory=OrderedDict)  # digest: user, until when
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def known(self, header: str | None) -> str | None:
        """Return the user of a token that was found good lately; None for all others. Asks nobody."""
        digest = _digest(header or "")
        with self._lock:
            user, until = self._known.get(digest, ("", 0.0))
            if user and self.clock() < until:
                return user
            self._known.pop(digest, None)
        return None

    def ask(self, header: str | None) -> str:
        """Return the user whose token is in an ``Authorization`` header.

        Raises ``Refused``, or ``ClusterError`` where the gateway does not say.
        """
        try:
            token = self._plausible(header)
            user = self._asked(token)
        except Refused:
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
            self._known[_digest(header or "")] = (user, until)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return user

    def _plausible(self, header: str | None) -> Token:
        """Return the token if it is one of this time. What is plainly none is not worth a question to the gateway."""
        if not header:
            raise Refused(f"no token: only users of the facility get answers (Authorization: {SCHEME} …)")
        token = Token.parse(header)
        if token is None:
            raise Refused(f"the Authorization header holds no token ({SCHEME} ACCESS_KEY/TIME/SIGNATURE)")
        try:
            age = self.clock() - token.made()
        except ValueError as error:
            raise Refused("the token's time is none") from error
        if abs(age) > LIFETIME:
            raise Refused(
                f"the token is of {token.stamp}, {abs(age):.0f} s {'ago' if age > 0 else 'ahead'} by this machine's "
                f"clock, and lasts for {LIFETIME:.0f} s: make a new one, or set the clocks"
            )
        return token

    def _asked(self, token: Token) -> str:
        host = urllib.parse.urlsplit(self.endpoint).netloc
        connection = http.client.HTTPConnection(host, timeout=self.timeout)
        try:
            connection.request("GET", PATH, headers=token.request())
            answer = connection.getresponse()
            body = answer.read(ENOUGH)
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise ClusterError(f"the gateway at {self.endpoint} does not say whose token it is: {said}") from error
        finally:
            connection.close()
        if answer.status in REFUSALS:
            raise Refused(f"the gateway does not take the token ({_text(body, 'Code') or answer.status})")
        if answer.status != http.client.OK:
            raise ClusterError(f"the gateway at {self.endpoint} answered {answer.status} to whose token it is")
        user = _text(body, "ListAllMyBucketsResult/Owner/ID")
        if not user or user == ANONYMOUS:
            raise Refused("the gateway names no user for the token")
        return user


def _digest(header: str) -> bytes:
    # The memory holds no tokens: whoever reads it could be anybody for the rest of the quarter of an hour.
    return hashlib.sha256(header.strip().encode()).digest()


def _text(body: bytes, path: str) -> str:
    """Return the text of the first element that ``path`` ends at, in XML that may break off; empty if there is none."""
    parser: Any = ElementTree.XMLPullParser(("start", "end"))
    open_: list[str] = []
    parser.feed(body)
    with contextlib.suppress(ElementTree.ParseError):  # what was read before it is there all the same
        for event, element in parser.read_events():
            if event == "start":
                open_.append(element.tag.rpartition("}")[2])
                continue
            if "/".join(open_).endswith(path):
                return element.text or ""
            open_.pop()
    return ""
