"""Card counters are read all the time, so that any span can be looked up afterwards."""

from __future__ import annotations

import time
from pathlib import Path

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


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    made = Cards(tmp_path)
    made.set("vb-s1", 1000, 2000)
    made.set("vb-s2", 0, 0)
    return made


def test_a_span_holds_what_was_counted_in_it_and_nothing_from_outside(cards: Cards) -> None:
    with CardWatch({"store1": "vb-s1", "store2": "vb-s2"}, period=0.01, root=cards.root) as watch:
        cards.set("vb-s1", 5000, 2000)
        time.sleep(0.1)
        start = time.time()
        time.sleep(0.05)
        cards.set("vb-s1", 5700, 2010)
        cards.set("vb-s2", 40, 700)
        time.sleep(0.05)
        end = time.time()
        time.sleep(0.05)
        cards.set("vb-s1", 99_999, 99_999)
    assert watch.between(start, end) == {"store1": Traffic(700, 10), "store2": Traffic(40, 700)}


def test_a_span_that_was_not_watched_is_refused(cards: Cards) -> None:
    with CardWatch({"store1": "vb-s1"}, period=0.01, root=cards.root) as watch:
        now = time.time()
        time.sleep(0.05)
    for start, end in [(now - 60, now), (now, now + 60), (now + 0.02, now)]:
        with pytest.raises(WireError, match="were watched"):
            watch.between(start, end)


def test_a_card_that_goes_away_ends_the_watch(cards: Cards) -> None:
    with CardWatch({"store1": "vb-s1"}, period=0.01, root=cards.root) as watch:
        (cards.root / "vb-s1" / "statistics" / "tx_bytes").unlink()
        time.sleep(0.1)
        now = time.time()
    with pytest.raises(WireError, match="were watched"):
        watch.between(now - 0.05, now)


def test_a_missing_card_is_named_before_anything_starts(cards: Cards) -> None:
    with pytest.raises(WireError, match="store3: vb-s3"):
        CardWatch({"store1": "vb-s1", "store3": "vb-s3"}, root=cards.root)
