"""Data as it comes: files uploaded as they are, described in place, or copied into datasets.

``upload`` brings files to S3, and ``download`` brings them back. ``virtualize`` describes NetCDF files there as one
dataset without copying a byte, and ``virtual_store`` opens it; ``ingest`` copies files into Zarr or Icechunk, and
``rechunk`` a dataset into other chunks. ``Shardwise`` is an engine for xarray that cuts sharded arrays by shards.
``catalogue`` finds and opens datasets, ``record`` puts one there and ``forget`` takes it out; ``publish`` lets
everybody read one, ``withdraw`` ends that. ``repository`` opens an Icechunk repository to read and to commit to;
``history``, ``branch``, ``tag`` and ``collect`` are for its versions. ``scratch`` tells what lies in scratch, and when
it goes.
"""

from __future__ import annotations

import importlib
from typing import Any

# Where each is. VirtualiZarr, Icechunk and h5py take half a second to import, which `appliance data put` need not pay.
_HOMES = {
    "Shardwise": "xarray_engine",
    "branch": "versions",
    "catalogue": "cataloguing.search",
    "collect": "collecting",
    "download": "local_copies",
    "forget": "cataloguing.recording",
    "history": "versions",
    "ingest": "ingesting",
    "publish": "cataloguing.publishing",
    "rechunk": "ingesting",
    "record": "cataloguing.recording",
    "repository": "repositories",
    "scratch": "scratch_buckets.shown",
    "tag": "versions",
    "upload": "transfer",
    "virtual_store": "stores",
    "virtualize": "virtual",
    "withdraw": "cataloguing.publishing",
}

__all__ = [  # by __getattr__
    *("DataError", "Shardwise", "branch", "catalogue", "collect", "download", "forget", "history", "ingest"),
    *("publish", "rechunk", "record", "repository", "scratch", "tag", "upload", "virtual_store", "virtualize"),
    "withdraw",
]


class DataError(ValueError):
    """Files with which this cannot be done; the message names them, and the way out."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
