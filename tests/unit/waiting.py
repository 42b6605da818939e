"""The one way in which unit tests wait for what gives no event of its own: another process's files and answers."""

from __future__ import annotations

import time
from collections.abc import Callable

STUCK = 300.0  # s after which a test is stuck, however busy the machine
PAUSE = 0.02  # s


def until(ready: Callable[[], object], why: Callable[[], str] = lambda: "did not come about") -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: it does not come about; ``why`` says what there is instead.
    """
    last = time.monotonic() + STUCK
    while not ready():
        if time.monotonic() > last:
            raise TimeoutError(why())
        time.sleep(PAUSE)
