"""A source by what it is: a dataset, or a file whose first bytes tell its format."""

from __future__ import annotations

from pathlib import Path

from appliance.data import file_bytes
from appliance.data.grib_source import GribSource
from appliance.data.sources import Readable, Source
from appliance.data.tiff_source import TiffSource
from appliance.data.zarr_source import ZarrSource, kind_of

GRIB = b"GRIB"  # WMO Manual on Codes, volume I.2, FM 92, section 0
# TIFF 6.0, section 2, and BigTIFF: the byte order, and 42 or 43.
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_source(url: str, group: str | None, folder: Path, dim: str = "") -> Readable:
    """A file or a dataset; ``folder`` is an empty one, for a partial copy of a file on S3.

    ``dim`` is the dimension along which it is joined with others; "" if it stays alone. GRIB has it then, though a
    file has one moment.

    Raises:
        DataError: it is none that can be read, or a damaged one, or has no such group.
        OSError: S3 cannot be reached, or refuses.
    """
    if kind_of(url):
        return ZarrSource(url, group)
    file_bytes.look(url)
    first = file_bytes.read(url, 0, 4)
    if first == GRIB:
        return GribSource(url, group, dim)
    return TiffSource(url, group) if first in TIFF else Source(url, group, folder)
