"""Bytes of a file, on S3 or of this machine, and what tells it from what it becomes."""

from __future__ import annotations

from pathlib import Path

import fsspec

from appliance.data import DataError, local_file, partial_copy
from appliance.placement.model.s3_address import S3Address


def look(url: str) -> tuple[int, str]:
    """Its size, and what changes with its content.

    Raises:
        DataError: it is empty, or no file.
        OSError: it is not there, S3 refuses, or cannot be reached.
    """
    found = local_file.state_of(Path(url)) if S3Address.find(url) is None else partial_copy.state_of(url)
    if not found[0]:
        raise DataError(f"{url}: is empty (0 bytes): upload it again, or get the file again")
    return found


def read(url: str, start: int, end: int) -> bytes:
    """The bytes from ``start`` to ``end``, or to where the file ends. Raises ``OSError``."""
    if S3Address.find(url) is not None:
        return bytes(fsspec.filesystem("s3").cat_file(url, start=start, end=end))
    with Path(url).open("rb") as file:
        file.seek(start)
        return file.read(end - start)
