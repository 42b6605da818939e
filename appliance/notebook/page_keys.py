"""Keys with which the parts of a page that has no origin are fetched.

A dashboard's page is put in a sandbox without an origin, so that its scripts reach nothing of the hub's. Browsers send
no cookies with what such a page asks for: its scripts and styles, and the WebSocket of its plots. Their address holds a
key instead. A key is made for a researcher who is logged in, for one cluster, and ends soon.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

# s; a page has fetched its parts and opened its WebSocket by then. An address that is shown to others is worth nothing
# afterwards.
LIFETIME = 120.0

PATTERN = "[A-Za-z0-9_-]{43}"


class PageKeys:
    """The keys of one server; they end with it.

    Args:
        clock: tells the time in s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: dict[str, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def make(self, cluster: str) -> str:
        """Return a new key for the dashboard of a cluster."""
        now = self._clock()
        self._keys = {key: (of, end) for key, (of, end) in self._keys.items() if end > now}
        key = secrets.token_urlsafe(32)
        self._keys[key] = (cluster, now + LIFETIME)
        return key

    def opens(self, key: str, cluster: str, left: float = 0.0) -> bool:
        """Whether a key opens the dashboard of a cluster, and does so for ``left`` s from now."""
        of, end = self._keys.get(key, ("", 0.0))
        return of == cluster and end - self._clock() > left
