"""What the scheduler expects of the reads of tasks: which are local, which are not, and why.

The scheduler notes it when a task that it placed is done. Together with what the workers count, it says why reads were
remote (``appliance.compute.reporting.reasons``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed.scheduler import WorkerState

    from appliance.compute.scheduling.places import Place

EXPECTED_LOCAL = "local"
# Why a read is not local. The last one is never expected: the report finds out.
NO_WORKER, HELP, SEVERAL, STALE = "no worker", "help", "several objects", "stale map"
ExpectedReads = Mapping[str, int]  # number of reads by EXPECTED_LOCAL, NO_WORKER, HELP and SEVERAL


class Expectations:
    """The scheduler's notes: by worker id, the expected reads of the tasks that are done."""

    def __init__(self) -> None:
        self._of_worker: dict[str, dict[str, int]] = {}

    def note(self, place: Place, ws: WorkerState | None, present: Collection[str]) -> None:
        """Note a task that was placed and is done. Called for each of them: takes a fraction of a microsecond.

        Args:
            place: where its data is.
            ws: the scheduler's state of the worker that ran it, None if that is gone.
            present: addresses of the hosts that have workers.
        """
        if ws is None:
            return
        notes = self._of_worker.get(ws.server_id)
        if notes is None:
            notes = self._of_worker[ws.server_id] = dict.fromkeys((EXPECTED_LOCAL, NO_WORKER, HELP, SEVERAL), 0)
        if ws.host in place.hosts:
            notes[EXPECTED_LOCAL] += place.reads - place.remote_reads
            if place.remote_reads:
                notes[SEVERAL] += place.remote_reads
        else:
            notes[NO_WORKER if place.restriction.isdisjoint(present) else HELP] += place.reads

    def of(self, worker: str) -> ExpectedReads:
        """Return what was noted of the tasks of a worker, by its id."""
        return self._of_worker.get(worker, {})
