"""The Dask side of the facility: where tasks run, what workers read, and what is shown of it.

Modules import what they need and no more: a scheduler without work needs none of Dask's array parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

    from appliance.compute.reporting.chunk_picture import ChunkMap
    from appliance.compute.reporting.report import ReadReport

__all__ = ["chunk_map", "report"]


def report(client: Client | None = None) -> ReadReport:
    """Return the reads of a cluster's workers so far: how many were local, and where.

    Args:
        client: a ``distributed.Client``; by default the one that Dask uses at the moment.

    Raises:
        ValueError: there is no client, or its cluster does not count reads.
    """
    from appliance.compute.reporting.collect import collect

    return collect(client)


def chunk_map(data: Any, client: Client | None = None) -> ChunkMap:
    """Return where the chunks of a variable lie: shown as a picture of them, coloured by host, with a legend.

    Args:
        data: an ``xarray.DataArray`` opened from S3 (Zarr, or a virtual dataset), a dataset of one variable, or a Dask
            array of such; the picture is of the stored array, as far as it was kept when it was opened.
        client: a ``distributed.Client`` whose workers are to stand in the legend; by default the one that Dask uses.

    Raises:
        ValueError: the variable is in memory, or not from S3, or calculated from several; or the facility's map is not
            to be had here.
        appliance.placement.PlacementUnavailable: the placement service does not answer.
    """
    from appliance.compute.reporting.chunk_map import chunk_map

    return chunk_map(data, client)
