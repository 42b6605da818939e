"""xarray's engine "netcdf4", and so the one that it guesses, for NetCDF files on S3: ``xr.open_dataset("s3://….nc")``.

The C library underneath opens files and web addresses, and knows nothing of S3's keys. Small files come in one request
and are opened in memory, by the same library as files on a disk; of large HDF5 files h5netcdf reads the parts that are
needed. Either reads through the facility's "s3". A dataset carries the address alone: workers open it themselves.
netCDF-4 is the same to both; of plain HDF5, h5netcdf gives texts of fixed length as bytes, and booleans as such.

`appliance.on_import` puts it in the place of xarray's own: xarray looks that up by its name before it looks at entry
points. Needless once that hands such addresses to fsspec itself.
"""

from __future__ import annotations

import inspect
import shlex
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import fsspec

from appliance.data import DataError

MIB = 2**20
IN_MEMORY = 16 * MIB  # bytes of a file up to which one request is cheaper than reading parts
IN_MEMORY_MOST = 256 * MIB  # likewise, where parts cannot be read
HDF5 = b"\211HDF\r\n\032\n"
DECODING = {
    *("mask_and_scale", "decode_times", "concat_characters", "decode_coords", "drop_variables"),
    *("use_cftime", "decode_timedelta"),
}


def install(module: ModuleType) -> None:
    """Put the engine in the place of that of ``xarray.backends.netCDF4_``."""
    from xarray.backends.common import BACKEND_ENTRYPOINTS

    needs, own = BACKEND_ENTRYPOINTS["netcdf4"]
    BACKEND_ENTRYPOINTS["netcdf4"] = (needs, engine(own, module.NetCDF4DataStore))


def _on_s3(place: Any) -> bool:
    return isinstance(place, str) and place.startswith("s3://")


def engine(own: Any, datastore: Any) -> Any:
    """Return xarray's engine, which also opens addresses on S3.

    Args:
        own: xarray's class of the engine.
        datastore: xarray's class of an opened file.
    """

    class NetCDF4OnS3(own):  # type: ignore[misc]
        open_dataset_parameters = tuple(inspect.signature(own.open_dataset).parameters)[1:]

        def open_dataset(self, filename_or_obj: Any, **options: Any) -> Any:
            if not _on_s3(filename_or_obj):
                return super().open_dataset(filename_or_obj, **options)
            nbytes = fsspec.filesystem("s3").size(filename_or_obj)
            if _by_parts(filename_or_obj, nbytes):
                return _h5netcdf().open_dataset(filename_or_obj, **_decoding(options), **_for_h5netcdf(options))
            from xarray.backends import StoreBackendEntrypoint
            from xarray.backends.locks import HDF5_LOCK, NETCDFC_LOCK, combine_locks

            from appliance.data.files_in_memory import FileInMemory, opened

            lock = options.get("lock") or combine_locks([NETCDFC_LOCK, HDF5_LOCK])
            manager = FileInMemory(opened, filename_or_obj, nbytes, mode="r", lock=lock)
            try:
                store = datastore(manager, group=options.get("group"), mode="r", lock=lock)
                with manager.acquire_context():
                    return StoreBackendEntrypoint().open_dataset(store, **_decoding(options))
            except BaseException:
                manager.close()
                raise

        def open_groups_as_dict(self, filename_or_obj: Any, **options: Any) -> Any:
            if not _on_s3(filename_or_obj) or not find_spec("h5netcdf"):
                return super().open_groups_as_dict(filename_or_obj, **options)
            return _h5netcdf().open_groups_as_dict(filename_or_obj, **_decoding(options), **_for_h5netcdf(options))

    return NetCDF4OnS3


def _decoding(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in DECODING}


def _for_h5netcdf(options: dict[str, Any]) -> dict[str, Any]:
    """Return what else h5netcdf is told: with "access" it names nameless dimensions as the C library does."""
    return {"group": options.get("group"), "phony_dims": "access"}


def _h5netcdf() -> Any:
    from xarray.backends import H5netcdfBackendEntrypoint

    return H5netcdfBackendEntrypoint()


def _by_parts(url: str, nbytes: int) -> bool:
    """Return whether to read parts of a file on S3, and not all of it at once.

    Raises:
        DataError: it should be read by parts and cannot be.
    """
    if nbytes <= IN_MEMORY:
        return False
    if fsspec.filesystem("s3").cat_file(url, start=0, end=len(HDF5)) == HDF5 and find_spec("h5netcdf"):
        return True
    if nbytes <= IN_MEMORY_MOST:
        return False
    raise DataError(
        f"{url}: {nbytes / MIB:,.0f} MiB are too many to be held by each process that reads a part of them; "
        f"`appliance data virtualize {shlex.quote(url)} {shlex.quote(url.rpartition('.')[0])}` in a terminal makes a "
        "dataset of it that is read in parts, where they lie"
    )
