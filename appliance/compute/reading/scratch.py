"""Scratch buckets, whose datasets expire as a whole: a chunk that went with its dataset is an error, not a fill value.

Zarr takes a chunk that is not there for one that was never written, and shows the fill value. Who opened a dataset
before it expired would so calculate with values that nobody has written. The facility's job removes all metadata of a
dataset before its first chunk (`appliance.data.scratch_buckets`). So where a chunk is missing, and afterwards no
metadata is above it, the chunk has been removed; where there is metadata, it was not written.
"""

from __future__ import annotations

import re

# What a researcher's scratch bucket is called: NAME-scratch.
SUFFIX = "-scratch"
# The names of Zarr's metadata (Zarr specifications 2 and 3).
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_OF_ARRAYS = ("zarr.json", ".zarray")
# The last part of a chunk's key (Zarr 2: "0.0", "0"; Zarr 3: "c/0/0", "c" of a scalar).
_CHUNK = re.compile(r"c|\d+(\.\d+)*", re.ASCII)


class ExpiredError(OSError):
    """A chunk of a dataset that has expired meanwhile. No ``FileNotFoundError``, which Zarr takes for a fill value."""


def metadata_above(bucket: str, key: str) -> list[str]:
    """Where the metadata of the array is that a chunk may belong to, nearest first, as ``bucket/key``.

    Nothing where the bucket is no scratch bucket, or the key no chunk's.
    """
    folder, _, last = key.rpartition("/")
    if not bucket.endswith(SUFFIX) or not _CHUNK.fullmatch(last):
        return []
    found = []
    while folder:
        found += [f"{bucket}/{folder}/{name}" for name in _OF_ARRAYS]
        folder = folder.rpartition("/")[0]
    return found


def expired(bucket: str, key: str) -> ExpiredError:
    """Return the error of a chunk that went with its dataset."""
    name = f"s3://{bucket}/{key.partition('/')[0]}"
    return ExpiredError(
        f"s3://{bucket}/{key} is not there, and neither is the dataset: {name} has expired, or was deleted, after it "
        "was opened; `appliance data scratch` lists what is there and when it goes"
    )
