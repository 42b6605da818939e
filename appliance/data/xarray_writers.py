"""xarray's `to_zarr` and `to_netcdf` in the facility: refused before they begin where workers could not end them.

And `to_netcdf("s3://…")`, which xarray does not have: it writes NetCDF to files alone. Needless for that once
`xarray.backends.writers.to_netcdf` takes addresses of fsspec's, as `open_dataset` does.

`appliance.on_import` wraps these functions as xarray is imported; all of xarray's ways to write come through them.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger("distributed.appliance.data")

WRITTEN = "nothing was written"


def install(writers: ModuleType) -> None:
    """Wrap the writers of ``xarray.backends.writers``; one whose parameters have other names stays as it is."""
    for name, (write, data, place) in WRITERS.items():
        own = getattr(writers, name, None)
        if own is None or not {data, place, "mode", "compute"} <= set(inspect.signature(own).parameters):
            logger.warning("%s.%s is another than was expected, and stays as it is", writers.__name__, name)
        else:
            setattr(writers, name, _wrapped(own, write, data, place))


def _wrapped(own: Callable[..., Any], write: Callable[..., Any], data: str, place: str) -> Callable[..., Any]:
    how = inspect.signature(own)

    @functools.wraps(own)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        given = how.bind(*arguments, **options).arguments

        def proceed(dataset: Any, where: Any) -> Any:
            return own(**given | {data: dataset, place: where})

        return write(proceed, given[data], given.get(place), given)

    return wrapped


def _is_local(place: Any) -> bool:
    return isinstance(place, str | os.PathLike) and "://" not in os.fspath(place)


def _parts(data: Any) -> list[Any]:
    """Return the datasets of a tree, or the one that it is."""
    return [node.to_dataset() for node in data.subtree] if hasattr(data, "subtree") else [data]


def _zarr(own: Callable[[Any, Any], Any], data: Any, store: Any, options: Mapping[str, Any]) -> Any:
    """Write Zarr. What is there is left alone where workers could not read what is to be written."""
    from appliance.compute import local_files

    del options
    parts = _parts(data)
    local_files.check(parts, WRITTEN)
    if _is_local(store) and local_files.unreachable(store, parts):
        raise local_files.NotOnWorkersError(
            f"{Path(store).expanduser().absolute()} is on this machine only, and the workers of your cluster "
            f"cannot write it; {WRITTEN}. Write to s3://BUCKET/…, or let the notebook do it alone, "
            '`with dask.config.set(scheduler="threads"):`'
        )
    return own(data, store)


def _netcdf(own: Callable[[Any, Any], Any], data: Any, place: Any, options: Mapping[str, Any]) -> Any:
    """Write NetCDF, also to addresses on S3."""
    from appliance.compute import local_files

    parts = _parts(data)
    local_files.check(parts, WRITTEN)
    if not isinstance(place, str) or not place.startswith("s3://"):
        # Workers calculate, and the notebook writes: its files are its own.
        if _is_local(place) and local_files.unreachable(place, parts):
            data = data.compute()
        return own(data, place)
    if not options.get("compute", True) or options.get("multifile"):
        raise NotImplementedError(
            f"{place}: a NetCDF file on S3 is written at once and by itself: "
            "call to_netcdf without compute=False for each file"
        )
    return _to_s3(own, data, place, appends=options.get("mode") == "a")


def _to_s3(own: Callable[[Any, Any], Any], data: Any, url: str, appends: bool) -> None:
    """Write a NetCDF file beside the home, and put it on S3 in one go: readers see the old file or the new one.

    Workers calculate; the values come to the notebook, which holds all of them at that moment.
    """
    import fsspec

    files = fsspec.filesystem("s3")
    # On a disk: temporary directories are the notebook's own memory.
    place = Path.home() / ".cache"
    with tempfile.TemporaryDirectory(prefix="to-netcdf-", dir=place if place.is_dir() else None) as folder:
        path = str(Path(folder, Path(url).name))
        if appends and files.exists(url):
            files.get_file(url, path)
        own(data.compute(), path)
        files.put_file(path, url)


# How each is written here, and what xarray calls its data and its place.
WRITERS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "to_zarr": (_zarr, "dataset", "store"),
    "to_netcdf": (_netcdf, "dataset", "path_or_file"),
    "_datatree_to_zarr": (_zarr, "dt", "store"),
    "_datatree_to_netcdf": (_netcdf, "dt", "filepath"),
}
