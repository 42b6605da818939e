"""Why reads were remote: what the scheduler knew when it placed their tasks, joined with what the workers counted.

A worker knows of each read who served it and where it lies. Why it was read on this worker only the scheduler knows: it
notes, when a task that it placed is done, how many of the task's reads it expected to be remote, and why. Reads that
were remote though the scheduler expected them to be local were placed by another state of the map than the worker's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from appliance.compute.counters import ELSEWHERE, ERASURE, FALLBACK, HERE, SPREAD, UNPLACED

NO_WORKER, HELP, SEVERAL, STALE = "no worker", "help", "several objects", "stale map"
ERASURE_CODED, OTHER_GATEWAY, NO_MAP, NOT_PLACED = "EC pool", "other gateway", "no map", "not placed"
REASONS = {
    NO_WORKER: "no host of the data had a worker",
    HELP: "another host had a free worker and helped",
    SEVERAL: "the task reads several objects or pieces, which lie on different hosts",
    STALE: "the map had changed since the task was placed",
    ERASURE_CODED: "an erasure-coded pool, where a host holds a part of each object",
    OTHER_GATEWAY: "the host's own gateway did not answer",
    NO_MAP: "no placement map said where the object lies",
    NOT_PLACED: "read outside of a task, where you said workers=, or in a way that the scheduler cannot see",
}
EXPECTED_LOCAL = "local"
Foresight = Mapping[str, int]  # reads by EXPECTED_LOCAL, NO_WORKER, HELP and SEVERAL


class Place(Protocol):
    """What is asked of ``appliance.compute.places.Place``."""

    @property
    def hosts(self) -> tuple[str, ...]: ...

    @property
    def restriction(self) -> set[str]: ...

    @property
    def reads(self) -> int: ...

    @property
    def away(self) -> int: ...


class Foreseen:
    """The scheduler's notes: for each worker, by its id, the reads of the tasks that are done, as it expected them."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, int]] = {}

    def done(self, place: Place, ws: Any, present: Collection[str]) -> None:
        """Note a task that was placed and is done. Called for each of them: a fraction of a microsecond.

        Args:
            place: where its data is.
            ws: the scheduler's state of the worker that did it, None if that is gone.
            present: addresses of hosts that have workers.
        """
        if ws is None:
            return
        notes = self._of.get(ws.server_id)
        if notes is None:
            notes = self._of[ws.server_id] = dict.fromkeys((EXPECTED_LOCAL, NO_WORKER, HELP, SEVERAL), 0)
        if ws.host in place.hosts:
            notes[EXPECTED_LOCAL] += place.reads - place.away
            if place.away:
                notes[SEVERAL] += place.away
        else:
            notes[NO_WORKER if place.restriction.isdisjoint(present) else HELP] += place.reads

    def of(self, worker: str) -> Foresight:
        """What was noted of a worker's tasks."""
        return self._of.get(worker, {})


def why_remote(kinds: Mapping[str, int], foresight: Foresight) -> dict[str, int]:
    """Say why the reads of one host were remote.

    Args:
        kinds: its reads by kind, see ``appliance.compute.counters.KINDS``.
        foresight: its reads as the scheduler expected them.

    Returns:
        Reads by reason, those with any. They add up to the reads that were not local. Between ``STALE`` and
        ``NOT_PLACED`` is an estimate, and a low one for the first: as many reads as were expected to be local and for
        which no other reason is known.
    """
    why: Counter[str] = Counter()
    left = kinds.get(ELSEWHERE, 0)
    for reason in (NO_WORKER, HELP, SEVERAL):
        why[reason] = min(left, foresight.get(reason, 0))
        left -= why[reason]
    of_workers = {SPREAD: SEVERAL, ERASURE: ERASURE_CODED, FALLBACK: OTHER_GATEWAY, UNPLACED: NO_MAP}
    accounted = sum(kinds.get(kind, 0) for kind in (*HERE, *of_workers))
    why[STALE] = min(left, max(0, foresight.get(EXPECTED_LOCAL, 0) - accounted))
    why[NOT_PLACED] = left - why[STALE]
    for kind, reason in of_workers.items():
        why[reason] += kinds.get(kind, 0)
    return {reason: why[reason] for reason in REASONS if why[reason]}
