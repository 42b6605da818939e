"""Card counters are read all the time, so that any span can be looked up afterwards."""

from __future__ import annotations

from pathlib import Path
from threading import Condition

import pytest

from appliance.demo.wire import CardWatch, Traffic, WireError


class Cards:
    """Cards as the kernel shows them: a folder for each, with counters in files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def set(self, card: str, to_machine: int, from_machine: int) -> None:
        folder = self.root / card / "statistics"
        folder.mkdir(parents=True, exist_ok=True)
        for name, count in (("tx_bytes", to_machine), ("rx_bytes", from_machine)):
            # Like the kernel's, a counter is never seen half written.
            (folder / "draft").write_text(f"{count}\n")
            (folder / "draft").replace(folder / name)


class Clock:
    """Seconds that pass when a test says so, and are then asked for by looks at the cards."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._asked, self._condition = 0, Condition()

    def __call__(self) -> float:
        with self._condition:
            self._asked += 1
            self._condition.notify_all()
            return self.now

    def passes(self) -> float:
        """Let a second pass, wait for a whole look at the cards after it, and return the time."""
        with self._condition:
            self.now += 1
            # The second question comes after the end of the look that began with the first.
            last = self._asked + 2
            self._condition.wait_for(lambda: self._asked >= last)
            return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    made = Cards(tmp_path)
    made.set("vb-s1", 1000, 2000)
    made.set("vb-s2", 0, 0)
    return made


def test_a_span_holds_what_was_counted_in_it_and_nothing_from_outside(cards: Cards, clock: Clock) -> None:
    with CardWatch({"store1": "vb-s1", "store2": "vb-s2"}, period=0.01, root=cards.root, clock=clock) as watch:
        cards.set("vb-s1", 5000, 2000)
        start = clock.passes()
        clock.passes()
        cards.set("vb-s1", 5700, 2010)
        cards.set("vb-s2", 40, 700)
        end = clock.passes()
        clock.passes()
        cards.set("vb-s1", 99_999, 99_999)
    assert watch.between(start, end) == {"store1": Traffic(700, 10), "store2": Traffic(40, 700)}


def test_a_span_that_was_not_watched_is_refused(cards: Cards, clock: Clock) -> None:
    with CardWatch({"store1": "vb-s1"}, period=0.01, root=cards.root, clock=clock) as watch:
        now = clock.passes()
        clock.passes()
    assert watch.between(now, now + 1) == {"store1": Traffic(0, 0)}
    for start, end in [(now - 60, now), (now, now + 60), (now + 0.02, now)]:
        with pytest.raises(WireError, match="were watched"):
            watch.between(start, end)


def test_a_card_that_goes_away_ends_the_watch(cards: Cards, clock: Clock) -> None:
    with CardWatch({"store1": "vb-s1"}, period=0.01, root=cards.root, clock=clock) as watch:
        seen = clock.passes()
        (cards.root / "vb-s1" / "statistics" / "tx_bytes").unlink()
        clock.now += 1
    with pytest.raises(WireError, match="were watched"):
        watch.between(seen, seen + 1)


def test_a_missing_card_is_named_before_anything_starts(cards: Cards) -> None:
    with pytest.raises(WireError, match="store3: vb-s3"):
        CardWatch({"store1": "vb-s1", "store3": "vb-s3"}, root=cards.root)
