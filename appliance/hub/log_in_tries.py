"""How often a password may be tried: a moving window, counted for a name and for where the tries come from.

A try counts when it begins, so that many at once are no way around. Counts are kept in memory: a restart of the hub
forgets them, and no researcher can restart it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

NAME_MAX = 64  # characters of a name that are kept: whoever tries chooses them


@dataclass(frozen=True, kw_only=True)
class TriesAllowed:
    """How many tries are allowed within a window.

    Attributes:
        seconds: the window's length.
        per_name_and_address: of one name from one address.
        per_name: of one name from all addresses together.
        per_address: from one address, of all names together; a log-in that succeeds counts too.
    """

    seconds: int
    per_name_and_address: int
    per_name: int
    per_address: int


class LogInTries:
    """Counts tries. For one thread, such as that of an event loop."""

    def __init__(self, allowed: TriesAllowed) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._together = RateLimitItemPerSecond(allowed.per_name_and_address, allowed.seconds, namespace="together")
        self._name = RateLimitItemPerSecond(allowed.per_name, allowed.seconds, namespace="name")
        self._address = RateLimitItemPerSecond(allowed.per_address, allowed.seconds, namespace="address")

    def begin(self, name: str, address: str) -> int:
        """Count a try and return 0; where it is one too many, return the seconds to wait, and count nothing."""
        counts = self._counts(name, address)
        waits = [self._wait(*count) for count in counts if not self._window.test(*count)]
        if waits:
            return max(waits)
        for count in counts:
            self._window.hit(*count)
        return 0

    def succeeded(self, name: str, address: str) -> None:
        """Forget the tries of a name: its owner has logged in."""
        together, of_name, _ = self._counts(name, address)
        self._window.clear(*together)
        self._window.clear(*of_name)

    def _counts(self, name: str, address: str) -> list[tuple[RateLimitItem, *tuple[str, ...]]]:
        name = name[:NAME_MAX]
        return [(self._together, name, address), (self._name, name), (self._address, address)]

    def _wait(self, item: RateLimitItem, *words: str) -> int:
        return max(1, math.ceil(self._window.get_window_stats(item, *words).reset_time - time.time()))
