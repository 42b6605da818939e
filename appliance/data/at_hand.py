"""A source whose values are read when they are asked for, where a partial copy of a file is used otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from appliance.data import DataError
from appliance.data.stored import Ranges


class AtHand:
    """What ``PartialCopy`` has, of a source of which nothing is copied before it is read.

    Args:
        url: of the source.
        look: what tells by the address what the source is now from what it becomes when somebody writes to it.
    """

    kept_bytes = nbytes = 0

    def __init__(self, url: str, look: Callable[[str], Any]):
        self.url, self._look = url, look
        self.state = look(url)

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Nothing need be fetched."""

    def fetch_all_but(self, holes: Ranges) -> None:
        """Nothing need be fetched."""

    def keep(self) -> None:
        """Nothing is kept."""

    def forget(self) -> None:
        """Nothing is kept."""

    def remove(self) -> None:
        """Nothing is kept."""

    def check_unchanged(self) -> None:
        """Raise ``DataError`` where the source is another than at first."""
        if self._look(self.url) != self.state:
            raise DataError(f"{self.url}: was changed while it was read: try again when it is at rest")
