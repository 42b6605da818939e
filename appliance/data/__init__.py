"""Data as it comes: files uploaded as they are, and datasets made of them without copying a byte.

``virtualize`` describes NetCDF files on S3 as one dataset; ``icechunk_store`` opens one that is kept in Icechunk.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DataError", "icechunk_store", "upload", "virtualize"]


class DataError(ValueError):
    """Files or addresses with which this cannot be done; the message names them, and the way out."""


def __getattr__(name: str) -> Any:
    # VirtualiZarr, Icechunk and h5py take half a second to import, which `appliance data put` need not pay.
    if name == "virtualize":
        from appliance.data.virtual import virtualize

        return virtualize
    if name == "icechunk_store":
        from appliance.data.repository import icechunk_store

        return icechunk_store
    if name == "upload":
        from appliance.data.transfer import upload

        return upload
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
