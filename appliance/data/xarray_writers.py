"""xarray's `to_zarr` and `to_netcdf` in the facility: refused before they begin where workers could not end them.

And `to_netcdf("s3://…")`, which xarray does not have: it writes NetCDF to files alone. Needless for that once
`xarray.backends.writers.to_netcdf` takes addresses of fsspec's, as `open_dataset` does.

`appliance.on_import` wraps these functions as xarray is imported; all of xarray's ways to write come through them.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

WRITTEN = "nothing was written"


def install(writers: ModuleType) -> None:
    """Wrap the writers of ``xarray.backends.writers``."""
    for name, wrap in (("to_zarr", _checked), ("_datatree_to_zarr", _checked), ("to_netcdf", _anywhere)):
        own = getattr(writers, name, None)
        if own is not None:
            setattr(writers, name, wrap(own))


def _is_local(place: Any) -> bool:
    return isinstance(place, str | os.PathLike) and "://" not in os.fspath(place)


def _checked(own: Callable[..., Any]) -> Callable[..., Any]:
    """Return a writer of Zarr that leaves what is there alone where workers could not read what is to be written."""

    @functools.wraps(own)
    def write(dataset: Any, store: Any = None, *arguments: Any, **options: Any) -> Any:
        from appliance.compute import local_files

        parts = [node.to_dataset() for node in dataset.subtree] if hasattr(dataset, "subtree") else [dataset]
        local_files.check(parts, WRITTEN)
        if _is_local(store) and local_files.unreachable(store, parts):
            raise local_files.NotOnWorkersError(
                f"{Path(store).expanduser().absolute()} is on this machine only, and the workers of your cluster "
                f"cannot write it; {WRITTEN}. Write to s3://BUCKET/…, or let the notebook do it alone, "
                '`with dask.config.set(scheduler="threads"):`'
            )
        return own(dataset, store, *arguments, **options)

    return write


def _anywhere(own: Callable[..., Any]) -> Callable[..., Any]:
    """Return a writer of NetCDF that takes addresses on S3 too."""

    @functools.wraps(own)
    def write(dataset: Any, path_or_file: Any = None, *arguments: Any, **options: Any) -> Any:
        from appliance.compute import local_files

        local_files.check([dataset], WRITTEN)
        if not isinstance(path_or_file, str) or not path_or_file.startswith("s3://"):
            # Workers calculate, and the notebook writes: its files are its own.
            if _is_local(path_or_file) and local_files.unreachable(path_or_file, [dataset]):
                dataset = dataset.compute()
            return own(dataset, path_or_file, *arguments, **options)
        if not options.get("compute", True) or options.get("multifile"):
            raise NotImplementedError(
                f"{path_or_file}: a NetCDF file on S3 is written at once and by itself: "
                "call to_netcdf without compute=False for each file"
            )
        return _to_s3(own, dataset, path_or_file, *arguments, **options)

    return write


def _to_s3(own: Callable[..., Any], dataset: Any, url: str, *arguments: Any, **options: Any) -> None:
    """Write a NetCDF file beside the home, and put it on S3 in one go: readers see the old file or the new one.

    Workers calculate; the values come to the notebook, which holds all of them at that moment.
    """
    import fsspec

    files = fsspec.filesystem("s3")
    # On a disk: temporary directories are the notebook's own memory.
    place = Path.home() / ".cache"
    with tempfile.TemporaryDirectory(prefix="to-netcdf-", dir=place if place.is_dir() else None) as folder:
        path = str(Path(folder, Path(url).name))
        if (options.get("mode") or (arguments[0] if arguments else "w")) == "a" and files.exists(url):
            files.get_file(url, path)
        own(dataset.compute(), path, *arguments, **options)
        files.put_file(path, url)
