"""What one researcher's clusters may have together: what is counted, what is left, and what is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from appliance.launching.allowance import GIB, Amount, refused_cluster, refused_workers, used, workers_left

CONFIG = SimpleNamespace(scheduler_cores=1, scheduler_memory=2 * GIB, worker_cores=2, worker_memory=4 * GIB)
MOST = Amount(clusters=2, workers=10, cores=16, memory=64 * GIB)
NONE = Amount(clusters=0, workers=0, cores=0, memory=0)


@dataclass
class Record:
    """A cluster as dask-gateway keeps it: how many workers it asked for, and which of them it has."""

    count: int
    running: int = 0
    config: SimpleNamespace = field(default_factory=lambda: CONFIG)

    def active_workers(self) -> list[int]:
        return list(range(self.running))


def test_what_was_asked_for_counts_and_what_runs_still() -> None:
    assert used([]) == NONE
    assert used([Record(3), Record(0, running=1)]) == Amount(clusters=2, workers=4, cores=10, memory=20 * GIB)


@pytest.mark.parametrize(
    ("others", "left"),
    [
        (NONE, 7),  # 15 cores beside the scheduler's
        (Amount(1, 5, 5, 12 * GIB), 5),  # workers
        (Amount(1, 1, 11, 0), 2),  # cores
        (Amount(1, 1, 2, 53 * GIB), 2),  # memory
        (Amount(1, 10, 11, 42 * GIB), 0),
        (Amount(1, 12, 30, 99 * GIB), 0),  # the limits were lowered since
    ],
)
def test_the_scarcest_of_workers_cores_and_memory_decides(others: Amount, left: int) -> None:
    assert workers_left(MOST, others, CONFIG) == left
    assert refused_workers(MOST, others, CONFIG, left) == ""
    said = refused_workers(MOST, others, CONFIG, left + 1)
    assert f"this cluster can have {left}." in said
    assert "at most 10 workers, 16 cores and 64.0 GiB" in said


@pytest.mark.parametrize(
    ("have", "says"),
    [
        (NONE, ""),
        (Amount(1, 7, 15, 62 * GIB), ""),
        (Amount(2, 0, 2, 4 * GIB), "You have 2 clusters, and 2 is the most"),
        (Amount(1, 7, 16, 30 * GIB), "have 16 cores, and 16 is the most"),
        (Amount(1, 7, 15, 63 * GIB), "have 63.0 GiB of memory, and 64.0 GiB is the most"),
    ],
)
def test_a_further_cluster_is_refused_in_words(have: Amount, says: str) -> None:
    said = refused_cluster(MOST, have, CONFIG)
    assert bool(said) == bool(says)
    assert says in said
    assert "Gateway().stop_cluster(name)" in said or not said
