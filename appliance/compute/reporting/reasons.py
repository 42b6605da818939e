"""Why reads were remote: what the scheduler knew when it placed their tasks, joined with what the workers counted.

A worker knows of each read who served it and where it lies. Why it was read on this worker only the scheduler knows: it
notes, when a task that it placed is done, how many of the task's reads it expected to be remote, and why. Reads that
were remote though the scheduler expected them to be local were placed by another state of the map than the worker's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from appliance.compute.reading.read_counter import ELSEWHERE, ERASURE, FALLBACK, HERE, SPREAD, UNPLACED
from appliance.compute.scheduling.expectations import EXPECTED_LOCAL, HELP, NO_WORKER, SEVERAL, STALE, ExpectedReads

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


def why_remote(kinds: Mapping[str, int], expected: ExpectedReads) -> dict[str, int]:
    """Return why the reads of one host were remote.

    Args:
        kinds: its reads by kind, see ``appliance.compute.reading.read_counter.KINDS``.
        expected: its reads as the scheduler expected them.

    Returns:
        reads by reason, those with any. They add up to the reads that were not local. Between ``STALE`` and
        ``NOT_PLACED`` is an estimate, and a low one for the first: as many reads as were expected to be local and for
        which no other reason is known.
    """
    why: Counter[str] = Counter()
    left = kinds.get(ELSEWHERE, 0)
    for reason in (NO_WORKER, HELP, SEVERAL):
        why[reason] = min(left, expected.get(reason, 0))
        left -= why[reason]
    of_workers = {SPREAD: SEVERAL, ERASURE: ERASURE_CODED, FALLBACK: OTHER_GATEWAY, UNPLACED: NO_MAP}
    accounted = sum(kinds.get(kind, 0) for kind in (*HERE, *of_workers))
    why[STALE] = min(left, max(0, expected.get(EXPECTED_LOCAL, 0) - accounted))
    why[NOT_PLACED] = left - why[STALE]
    for kind, reason in of_workers.items():
        why[reason] += kinds.get(kind, 0)
    return {reason: why[reason] for reason in REASONS if why[reason]}
