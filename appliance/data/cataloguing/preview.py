"""A picture of a dataset's first field, small enough for a list."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import xarray as xr

SIZE = (240, 120)  # pixels, at most
BYTES_MAX = 256 * 2**20  # of the values that are read for it: the chunks that the field touches, and no more


def preview(dataset: xr.Dataset) -> bytes | None:
    """A PNG of the first field of the variable with the most values; None where there is nothing that can be drawn.

    Of each dimension but the last two the middle is taken, and of a large field every so many points. Raises what
    reading raises.
    """
    field = _field(dataset)
    if field is None:
        return None
    values = np.asarray(field.values, dtype=float)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    return _line(values) if field.ndim == 1 else _map(values, field, finite)


def _field(dataset: xr.Dataset) -> xr.DataArray | None:
    arrays = [one for one in dataset.data_vars.values() if one.dtype.kind in "iufb" and one.ndim and one.size > 1]
    if not arrays:
        return None
    array = max(arrays, key=lambda one: (min(one.ndim, 2), one.size))
    kept = array.dims[-2:]
    cut = array.isel({dim: array.sizes[dim] // 2 for dim in array.dims if dim not in kept})
    touched = cut.nbytes
    for dim in array.dims:
        if dim not in kept:
            touched *= max(array.chunksizes.get(dim, (1,)))
    if touched > BYTES_MAX:
        return None
    most = dict(zip(reversed(kept), SIZE, strict=False))
    return cut.isel({dim: slice(None, None, max(1, -(-cut.sizes[dim] // most[dim]))) for dim in kept})


def _map(values: np.ndarray[Any, Any], field: xr.DataArray, finite: np.ndarray[Any, Any]) -> bytes:
    from matplotlib import colormaps
    from matplotlib.image import imsave

    least, most = np.percentile(finite, (2, 98))
    # As maps are drawn: north is up, whichever way the rows go.
    rows = field.coords.get(field.dims[0])
    if rows is None or rows.dtype.kind not in "iuf" or rows.size < 2 or float(rows[0]) < float(rows[-1]):
        values = values[::-1]
    image = io.BytesIO()
    colours = colormaps["viridis"].with_extremes(bad=(0.5, 0.5, 0.5, 0.25))
    data = np.ma.masked_invalid(values)
    imsave(image, data, vmin=least, vmax=most if most > least else least + 1, cmap=colours, format="png")
    return image.getvalue()


def _line(values: np.ndarray[Any, Any]) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2, 1.6), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.plot(values, color="#2a788e")
    axes.set_axis_off()
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image, pil_kwargs={"optimize": True})
    return image.getvalue()
