"""The Dask side of the facility: where tasks run, what workers read, and how clusters start.

Modules import what they need and no more: the launcher runs on the system's standard library alone, the gateway's
backend without Dask's array parts, the worker's counters without Jupyter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from appliance.compute.chunkmap import ChunkMap
    from appliance.compute.reads import ReadReport

__all__ = ["chunk_map", "report"]


def report(client: Any = None) -> ReadReport:
    """Count the reads of a cluster's workers so far: how many were local, and where.

    Args:
        client: a ``distributed.Client``; by default the one that Dask uses at the moment.

    Raises:
        ValueError: there is no client, or its cluster does not count reads.
    """
    from appliance.compute.gather import collect

    return collect(client)


def chunk_map(data: Any, client: Any = None) -> ChunkMap:
    """Show where the chunks of a variable lie: a picture of them, coloured by host, with a legend.

    Args:
        data: an ``xarray.DataArray`` opened from S3 (Zarr, or a virtual dataset), a dataset of one variable, or a Dask
            array of such; the picture is of the stored array, as far as it was kept when it was opened.
        client: a ``distributed.Client`` whose workers are to stand in the legend; by default the one that Dask uses.

    Raises:
        ValueError: the variable is in memory, or not from S3, or calculated from several; or the facility's map is not
            to be had here.
        appliance.placement.PlacementUnavailable: the placement service does not answer.
    """
    from appliance.compute.chunkmap import chunk_map

    return chunk_map(data, client)
