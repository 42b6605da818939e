"""NetCDF files on S3 that are open in memory: few enough of them, in the notebook and on each worker.

xarray keeps the 128 files open that were used last, whatever they hold: 128 files of 16 MiB are all of a worker's
memory. These are kept apart from its others, and by their bytes.
"""

from __future__ import annotations

from typing import Any

import fsspec
from xarray.backends import CachingFileManager
from xarray.backends.file_manager import FILE_CACHE, _close_unless_pinned
from xarray.backends.lru_cache import LRUCache

HELD_MOST = 256 * 2**20  # bytes of all that are open


class _Held(LRUCache[Any, Any]):
    """Open files. The one that was opened last is always there, others while there is room for them."""

    def __setitem__(self, key: Any, file: Any) -> None:
        with self._lock:
            super().__setitem__(key, file)
            while len(self) > 1 and sum(_nbytes(kept) for kept in self) > HELD_MOST:
                self._enforce_size_limit(len(self) - 1)


def _nbytes(key: Any) -> int:
    """Return the bytes of an open file; xarray's key says by what it was opened, ``(opened, (url, nbytes), …)``."""
    _, (_, nbytes), *_ = key
    return int(nbytes)


held = _Held(FILE_CACHE.maxsize, on_evict=_close_unless_pinned)
held._lock = FILE_CACHE._lock  # as it guards what is in use, too: with two, threads could wait for each other


class FileInMemory(CachingFileManager[Any]):
    """A file on S3, which is opened where it is needed: ``FileInMemory(opened, url, nbytes, mode="r")``."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **{**options, "cache": held})


def opened(url: str, nbytes: int, mode: str = "r") -> Any:
    """Return a NetCDF file on S3, opened in memory by the C library. Read only, whatever ``mode`` says.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: it is no NetCDF file, or not all of one.
    """
    import netCDF4

    del mode, nbytes
    data = fsspec.filesystem("s3").cat_file(url)
    try:
        # By its last name: where an address is said, the C library would open that.
        return netCDF4.Dataset(url.rpartition("/")[2], memory=data)
    except OSError as error:
        raise OSError(f"{url}: {error}") from error
