"""Tokens with which a caller of the placement service shows to be a user of the facility.

A token is the signature of one S3 request, ``GET /`` (list my buckets) to a host of no network, made with the caller's
own keys. The service cannot judge it, since it knows nobody's secret key; it sends that very request to the object
gateway, whose answer says whose signature it is (see ``service.authentication``). So the facility has one list of
users, the gateway's, and a token is good for nothing but that request: the host in the signature is in no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.placement.auth.sigv4 import Keys, headers_of, sign, timestamp
from appliance.placement.errors import PlacementError

HOST = "placement.appliance.internal"
PATH = "/"
SCHEME = "Appliance-S3"
# Seconds; the gateway takes no signature that is older, or so much newer (RGW_AUTH_GRACE, rgw_common.h).
LIFETIME = 900.0
RENEW = 300.0  # seconds after which a caller makes a new one: clocks may differ by the rest
# Nothing that could end a header's line or part, or begin another part of the signature.
_TEXT = re.compile(
    rf"{SCHEME} (?P<access>[\w.$@+=-]{{1,128}})/(?P<stamp>\d{{8}}T\d{{6}}Z)/(?P<signature>[0-9a-f]{{64}})", re.A
)


@dataclass(frozen=True)
class Token:
    """One signature: whose it claims to be, when it was made, and itself. It is a secret while it lasts."""

    access: str
    stamp: str
    signature: str = field(repr=False)

    @classmethod
    def of(cls, keys: Keys, moment: datetime) -> Token:
        """Make a token at a moment (UTC)."""
        stamp = timestamp(moment)
        return cls(keys.access, stamp, sign(keys, "GET", HOST, PATH, stamp))

    @classmethod
    def parse(cls, header: str) -> Token | None:
        """Read the value of an ``Authorization`` header; None where it is no token."""
        fields = _TEXT.fullmatch(header.strip())
        return cls(**fields.groupdict()) if fields else None

    def header(self) -> str:
        """Return it as the value of an ``Authorization`` header."""
        return f"{SCHEME} {self.access}/{self.stamp}/{self.signature}"

    def made(self) -> float:
        """Return when it was made, in seconds since 1970; raises ``ValueError`` where no calendar has such a time."""
        return datetime.strptime(self.stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()

    def request(self) -> dict[str, str]:
        """Return the headers of the request that it signs. Method, host and path are never the caller's to choose."""
        return headers_of(self.signature, self.access, HOST, self.stamp)


@dataclass
class Tokens:
    """A caller's tokens, each used for a while. Threads may share one. ``keys`` is asked anew for each token."""

    keys: Callable[[], Keys]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    missing: str = ""  # why there is no token
    _token: Token | None = None

    def headers(self, refused: bool = False) -> dict[str, str]:
        """Return the header to send; none where there are no keys, for the service to say what that means.

        ``refused``: the last one was not taken, so that it is made anew at once, from keys that may have changed.
        """
        # No lock: where two threads make a token at once, both are good.
        now, token = self.clock(), self._token
        if token is None or refused or abs(now.timestamp() - token.made()) >= RENEW:
            try:
                token, self.missing = Token.of(self.keys(), now), ""
            except PlacementError as error:
                token, self.missing = None, str(error)
            self._token = token
        return {} if token is None else {"Authorization": token.header()}
