"""The Dask side of the facility: where tasks run, what workers read, and what is shown of it.

Modules import what they need and no more: a scheduler without work needs none of Dask's array parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

    from appliance.compute.forecasting.forecast import Forecast
    from appliance.compute.reporting.chunk_picture import ChunkMap
    from appliance.compute.reporting.report import ReadReport

__all__ = ["chunk_map", "forecast", "report"]


def forecast(data: Any, client: Client | None = None, seconds: float = 10.0) -> Forecast:
    """Return what an analysis will need, before it runs: bytes, local share, seconds, peak memory, and advice.

    One task of each kind is tried on the workers, and nothing else runs. Tasks that may write are not tried. What the
    trial reads stands in ``report()`` as other reads do.

    Args:
        data: what ``compute()`` would be called on: an xarray object, a Dask collection, or a list of such.
        client: a ``distributed.Client``; by default the one that Dask uses at the moment. Without one, bytes alone are
            told.
        seconds: after which the trial begins no further task; 0 for no trial, and so neither time nor memory.

    Raises:
        ValueError: nothing of the data is calculated by Dask.
        PermissionError, OSError: S3 does not say how large the objects are.
    """
    from appliance.compute.forecasting.ask import forecasted

    return forecasted(data, client, seconds)


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
