"""What crossed the machines' network cards while something ran: the honest measure of locality."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

SYSTEM_CARDS = Path("/sys/class/net")


class WireError(RuntimeError):
    """The cards cannot be counted, or were not counted at the time that is asked for."""


@dataclass(frozen=True)
class Traffic:
    """Bytes that one machine's card received and sent in a span of time."""

    received: int
    sent: int


class CardWatch:
    """Reads the machines' card counters all the time, so that any span can be looked up afterwards.

    The host's end of a machine's card counts the other way round: what it sent, the machine received. Each byte from
    one machine to another is sent by exactly one of them, so the sum over the machines of ``sent`` counts it once; what
    the control host sends to a machine (a browser's questions, an operator's playbook) is not in that sum.
    """

    def __init__(
        self,
        cards: Mapping[str, str],
        period: float = 0.1,
        root: Path = SYSTEM_CARDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``cards`` maps machines to the host's ends of their cards, ``period`` is the time between two looks in s.

        ``clock`` gives the seconds since 1970.

        Raises:
            WireError: a card is not there.
        """
        self._counters = {machine: root / card / "statistics" for machine, card in cards.items()}
        missing = [f"{machine}: {path.parent.name}" for machine, path in self._counters.items() if not path.is_dir()]
        if missing:
            raise WireError(f"no such network card on this host: {', '.join(missing)}. Is the rack up?")
        self._period, self._clock = period, clock
        self._looks: list[tuple[float, dict[str, Traffic]]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card-watch", daemon=True)

    def __enter__(self) -> CardWatch:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, start: float, end: float) -> dict[str, Traffic]:
        """Return each machine's traffic from ``start`` to ``end`` (seconds since 1970), widened to the looks around it.

        Raises:
            WireError: the span was not watched from end to end.
        """
        looks = list(self._looks)
        before = [look for look in looks if look[0] <= start]
        after = [look for look in looks if look[0] >= end]
        if not before or not after or end < start:
            seen = f"{looks[0][0]:.1f} to {looks[-1][0]:.1f}" if looks else "never"
            raise WireError(f"the cards were watched {seen}, not from {start:.1f} to {end:.1f}")
        first, last = before[-1][1], after[0][1]
        return {
            machine: Traffic(last[machine].received - first[machine].received, last[machine].sent - first[machine].sent)
            for machine in self._counters
        }

    def _run(self) -> None:
        # A card that goes away (its machine was switched off) ends the watch; later spans are then refused.
        with contextlib.suppress(OSError):
            while not self._stop.wait(self._period):
                self._look()
            self._look()

    def _look(self) -> None:
        self._looks.append((self._clock(), {machine: _read(path) for machine, path in self._counters.items()}))


def _read(statistics: Path) -> Traffic:
    return Traffic(
        received=int((statistics / "tx_bytes").read_text()),
        sent=int((statistics / "rx_bytes").read_text()),
    )
