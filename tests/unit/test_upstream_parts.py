"""The contract with xarray, fsspec, s3fs and zarr: what is wrapped, overridden or read of them is as when it was read.

That of Dask is `compute/test_distributed_parts.py`. When a part has changed: read the new one, mend the module that
uses it, or take it out where it has become needless, and only then write the new digest here.
"""

from __future__ import annotations

import pytest
from sources import digest, function_of

WRITERS, ENGINE = "appliance.data.xarray_writers", "appliance.data.xarray_netcdf"
IN_MEMORY = "appliance.data.files_in_memory"
FILES, FILESYSTEM = "appliance.compute.local_files", "appliance.compute.reading.filesystem"
PARTS = {
    # Wrapped.
    "xarray.backends.writers:to_zarr": (WRITERS, "1270c2ba51f9"),
    "xarray.backends.writers:to_netcdf": (WRITERS, "deaf3cf39ec0"),
    "xarray.backends.writers:_datatree_to_zarr": (WRITERS, "3aea6741c975"),
    "xarray.backends.writers:_datatree_to_netcdf": (WRITERS, "a46325d7b1e4"),
    # As long as an engine is looked up by its name before entry points are, ours cannot be one of them.
    "xarray.backends.plugins:get_backend": (ENGINE, "ac824fef1ee4"),
    # Of these the engine for S3 does the same, with a file that it opens itself.
    "xarray.backends.netCDF4_:NetCDF4BackendEntrypoint.open_dataset": (ENGINE, "6b0b53fd1829"),
    "xarray.backends.netCDF4_:NetCDF4BackendEntrypoint.open_groups_as_dict": (ENGINE, "a4269cb2b3f3"),
    "xarray.backends.netCDF4_:NetCDF4DataStore.open": (ENGINE, "18cfa67aba8f"),
    "xarray.backends.netCDF4_:NetCDF4DataStore.__init__": (ENGINE, "04256d2581ff"),
    "xarray.backends.locks:combine_locks": (ENGINE, "53fe5c847b23"),
    "xarray.backends.file_manager:CachingFileManager._make_key": (IN_MEMORY, "7c2c107c3260"),
    "xarray.backends.file_manager:CachingFileManager._acquire_with_cache_info": (IN_MEMORY, "98c10f369f0c"),
    "xarray.backends.file_manager:CachingFileManager.__setstate__": (IN_MEMORY, "4043e1a09e60"),
    "xarray.backends.file_manager:_close_unless_pinned": (IN_MEMORY, "649bb23ed67e"),
    "xarray.backends.lru_cache:LRUCache.__init__": (IN_MEMORY, "d8e631c4ee75"),
    "xarray.backends.lru_cache:LRUCache.__setitem__": (IN_MEMORY, "eafc767fdd07"),
    "xarray.backends.lru_cache:LRUCache._enforce_size_limit": (IN_MEMORY, "794c40e5df3b"),
    # Where they keep the names of files.
    "xarray.backends.file_manager:CachingFileManager.__init__": (FILES, "4a376c4fd4fd"),
    "zarr.storage._local:LocalStore.__init__": (FILES, "b0620f0e1371"),
    "fsspec.core:OpenFile.__init__": (FILES, "8ddfbf5429d1"),
    "fsspec.mapping:FSMap.__init__": (FILES, "db68c802017d"),
    # Overridden, or called: the filesystem's client, and what stays of it in a forked process.
    "fsspec.asyn:AsyncFileSystem.__init__": (FILESYSTEM, "7669ba3b5dba"),
    "fsspec.asyn:AsyncFileSystem.loop": (FILESYSTEM, "ee7fadf997f3"),
    "fsspec.asyn:AsyncFileSystem._process_limits": (FILESYSTEM, "9e6fd23013fb"),
    "s3fs.core:S3FileSystem.__init__": (FILESYSTEM, "9aa8ce4a8179"),
    "s3fs.core:S3FileSystem.set_session": (FILESYSTEM, "abd870c6e48c"),
    "s3fs.core:S3FileSystem._call_s3": (FILESYSTEM, "416e02db412a"),
    "s3fs.core:S3FileSystem._cat_file": (FILESYSTEM, "6f7b053c0211"),
    "s3fs.core:S3FileSystem._pipe_file": (FILESYSTEM, "d89078f71de0"),
    "s3fs.core:S3FileSystem._put_file": (FILESYSTEM, "1a021354a399"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_what_was_read(part: str) -> None:
    user, read = PARTS[part]
    function = function_of(part)
    assert function is not None, f"{part}, which {user} needs, is gone"
    assert digest(function) == read, f"{part} has changed: read it, mend {user}, then write the new digest"
