"""The Dask side of the facility: where tasks run, what workers read, and how clusters start.

Modules import what they need and no more: the launcher runs on the system's standard library alone, the gateway's
backend without Dask's array parts, the worker's counters without Jupyter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from appliance.compute.reads import ReadReport

__all__ = ["report"]


def report(client: Any = None) -> ReadReport:
    """Count the reads of a cluster's workers so far: how many were local, and where.

    Args:
        client: a ``distributed.Client``; by default the one that Dask uses at the moment.

    Raises:
        ValueError: there is no client, or its cluster does not count reads.
    """
    from appliance.compute.gather import collect

    return collect(client)
