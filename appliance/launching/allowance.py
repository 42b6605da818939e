"""What one researcher's clusters may have together, what they have, and what is said where that is not enough.

Counted is what was asked for, not what runs already: two clusters that start at once do not both get the last worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

GIB = 2**30


@dataclass(frozen=True)
class Amount:
    """So many clusters, workers, cores and bytes of memory, schedulers' included."""

    clusters: int
    workers: int
    cores: int
    memory: int

    def to_dict(self) -> dict[str, int]:
        """Return the amounts by name."""
        return asdict(self)


def used(clusters: Iterable[Any]) -> Amount:
    """Return what clusters have or have asked for; ``clusters`` are dask-gateway's records of active ones."""
    records = list(clusters)
    workers = [max(record.count, len(record.active_workers())) for record in records]
    parts = list(zip(records, workers, strict=True))
    return Amount(
        clusters=len(records),
        workers=sum(workers),
        cores=sum(record.config.scheduler_cores + count * record.config.worker_cores for record, count in parts),
        memory=sum(record.config.scheduler_memory + count * record.config.worker_memory for record, count in parts),
    )


def workers_left(most: Amount, others: Amount, config: Any) -> int:
    """Return how many workers a cluster may have beside the researcher's other clusters.

    Args:
        most: what the researcher may have.
        others: what the researcher's other clusters have.
        config: the cluster's, which says what a worker and its scheduler take.
    """
    by_cores = (most.cores - others.cores - config.scheduler_cores) // config.worker_cores
    by_memory = (most.memory - others.memory - config.scheduler_memory) // config.worker_memory
    return int(max(0, min(most.workers - others.workers, by_cores, by_memory)))


def refused_cluster(most: Amount, have: Amount, config: Any) -> str:
    """Return why a researcher gets no further cluster, or nothing where they do."""
    way_out = (
        "End one that you do not need: Gateway().list_clusters() shows them, Gateway().stop_cluster(name) ends one."
    )
    if have.clusters >= most.clusters:
        return f"You have {have.clusters} clusters, and {most.clusters} is the most of one researcher. {way_out}"
    if have.cores + config.scheduler_cores > most.cores:
        return f"Your clusters have {have.cores} cores, and {most.cores} is the most of one researcher. {way_out}"
    if have.memory + config.scheduler_memory > most.memory:
        return (
            f"Your clusters have {have.memory / GIB:.1f} GiB of memory, and {most.memory / GIB:.1f} GiB is the most of "
            f"one researcher; a scheduler takes {config.scheduler_memory / GIB:.1f} GiB. {way_out}"
        )
    return ""


def refused_workers(most: Amount, others: Amount, config: Any, count: int) -> str:
    """Return why a cluster does not get ``count`` workers, or nothing where it does."""
    left = workers_left(most, others, config)
    if count <= left:
        return ""
    return (
        f"{count} workers of {config.worker_cores} cores and {config.worker_memory / GIB:.2f} GiB are more than you "
        f"may have; this cluster can have {left}. All clusters of one researcher have at most {most.workers} workers, "
        f"{most.cores} cores and {most.memory / GIB:.1f} GiB, and your other clusters have {others.workers} workers, "
        f"{others.cores} cores and {others.memory / GIB:.1f} GiB (schedulers included). `appliance quota` shows it."
    )
