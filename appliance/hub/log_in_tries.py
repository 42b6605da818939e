"""How often a password may be tried: a moving window, counted for a name and for where the tries come from.

A try counts from when it begins until it ends, so that many at once are no way around, and after that where its
password was wrong. One that nobody judged, since a directory was down, no longer counts for the name; it does for the
address, so that who is down is not asked without end. Counts are kept in memory: a restart of the hub forgets them, and
no researcher can restart it.
"""

from __future__ import annotations

import math
import time
from collections import Counter
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
        per_address: from one address, of all names together; each counts, also one that succeeds or is not judged.
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
        self._open: Counter[tuple[RateLimitItem, *tuple[str, ...]]] = Counter()  # tries that have not ended

    def begin(self, name: str, address: str) -> int:
        """Begin a try and return 0; where it is one too many, return the seconds to wait, and begin none."""
        counts = self._counts(name, address)
        waits = [self._wait(*count) for count in counts if not self._window.test(*count, cost=1 + self._open[count])]
        if waits:
            return max(waits)
        together, of_name, of_address = counts
        self._open.update([together, of_name])
        self._window.hit(*of_address)
        return 0

    def end(self, name: str, address: str, *, wrong: bool) -> None:
        """End a try that began: it goes on counting where its password was ``wrong``."""
        for count in self._counts(name, address)[:2]:
            self._open[count] -= 1
            if not self._open[count]:
                del self._open[count]
            if wrong:
                self._window.hit(*count)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the tries of a name: its owner has logged in."""
        together, of_name, _ = self._counts(name, address)
        self._window.clear(*together)
        self._window.clear(*of_name)

    def _counts(self, name: str, address: str) -> list[tuple[RateLimitItem, *tuple[str, ...]]]:
        name = name[:NAME_MAX]
        return [(self._together, name, address), (self._name, name), (self._address, address)]

    def _wait(self, item: RateLimitItem, *words: str) -> int:
        if self._window.test(item, *words):  # only tries that have not ended are in the way
            return 1
        return max(1, math.ceil(self._window.get_window_stats(item, *words).reset_time - time.time()))
