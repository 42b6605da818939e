"""Warnings of Zarr's that tell a researcher nothing: which codecs and types its standard does not list yet."""

from __future__ import annotations

import warnings


def codecs() -> None:
    """Show no more of them in this process."""
    for message in ("Numcodecs codecs are not in the Zarr version 3 specification", ".* does not have a Zarr V3 spec"):
        warnings.filterwarnings("ignore", message=message)
