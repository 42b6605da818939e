"""A GeoTIFF file, where a NetCDF file is used otherwise: as rioxarray reads it, with values as they are stored.

What stands beside a file (``.aux.xml``, ``.tfw``, ``.msk``) is not read, be it on S3 or of this machine.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import xarray as xr

from appliance.data import DataError, file_bytes
from appliance.data.at_hand import AtHand
from appliance.data.stored import Layout, Numbers, Stored, grid_of
from appliance.placement.model.s3_address import S3Address

NAME = "band_data"  # what rioxarray's engine for xarray calls the values
BLOCK_BYTES = 2**20  # of a file on S3, that are read at once
SETTINGS = {"GDAL_PAM_ENABLED": "NO", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
WAY_OUT = "`gdalinfo` tells more; rewrite the file (`gdal_translate IN OUT`)"


class TiffSource:
    """A file, with what ``Source`` has.

    Args:
        url: ``s3://bucket/key``, or a path of this machine.
        group: there is none.

    Raises:
        DataError: it is damaged, holds several pictures, or a group is named.
        OSError: S3 cannot be reached, or refuses.
    """

    def __init__(self, url: str, group: str | None):
        self.url, self.group = url, group
        if group:
            raise DataError(f"{url}: a GeoTIFF file has no group {group!r}: leave --group out")
        self.copy = AtHand(url, file_bytes.look)
        with self._read() as found:
            chunks = tuple(int(found.encoding["preferred_chunks"].get(dim, 1)) for dim in found.dims)
            self.layout = Layout({str(found.name): _stored(found.shape, chunks, np.dtype(found.dtype))})

    @contextlib.contextmanager
    def raw(self) -> Iterator[tuple[dict[str, xr.Variable], dict[str, Any]]]:
        """Variables as they are stored; a picture has no attributes but those of its values."""
        with self._read() as found:
            variables = {str(name): each.to_base_variable() for name, each in found.to_dataset().variables.items()}
            variables[str(found.name)].attrs = _attributes(found)
            variables[str(found.name)].encoding = {}
            yield variables, {}

    @contextlib.contextmanager
    def opened(self, **options: Any) -> Iterator[xr.Dataset]:
        """The file, decoded as xarray decodes such variables."""
        with self.raw() as (variables, attributes):
            with self.named("xarray cannot decode it"):
                dataset = xr.decode_cf(xr.Dataset(variables, attrs=attributes), **options)
            yield dataset

    @contextlib.contextmanager
    def named(self, what: str, way_out: str = WAY_OUT) -> Iterator[None]:
        """Say errors of the libraries with the file's address, and show none of their warnings."""
        from rasterio.errors import RasterioError, RasterioIOError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except DataError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, (RasterioError, RasterioIOError)):
                raise  # S3 refuses, or does not answer: it may another time, and the file is as it should be
            said = (str(error).strip().splitlines() or [repr(error)])[0].replace(self._alias, self.url)
            raise DataError(f"{self.url}: {what}: {said}; way out: {way_out}") from error

    @contextlib.contextmanager
    def _read(self) -> Iterator[xr.DataArray]:
        """The values and what belongs to them, as rioxarray has them."""
        import rasterio
        import rioxarray

        # GDAL knows an opener by the name of the file; that of another read of the same file must not be taken.
        self._alias = f"{secrets.token_hex(8)}/{self.url.rpartition('/')[2]}"
        with rasterio.Env(**SETTINGS):
            with self.named("GDAL cannot read it"):
                options: dict[str, Any] = {"opener": self._open, "driver": "GTiff"}
                with rasterio.open(self._alias, **options) as file:
                    if file.subdatasets:
                        raise DataError(
                            f"{self.url}: holds several pictures: `gdal_translate GTIFF_DIR:1:IN OUT` writes the first"
                        )
                found = rioxarray.open_rasterio(self._alias, cache=False, default_name=NAME, **options)
            with contextlib.closing(found):
                yield found

    def _open(self, path: str, _mode: str = "rb", **_options: Any) -> Any:
        if path != self._alias:
            raise FileNotFoundError(path)
        if S3Address.find(self.url) is None:
            return Path(self.url).open("rb")
        return fsspec.filesystem("s3").open(self.url, "rb", block_size=BLOCK_BYTES, cache_type="blockcache")


def _attributes(found: xr.DataArray) -> dict[str, Any]:
    """Those that decode the values: with what rioxarray keeps elsewhere, and without what changes nothing."""
    made = {str(name): _plain(value) for name, value in found.attrs.items()}
    if (made.get("scale_factor", 1.0), made.get("add_offset", 0.0)) == (1.0, 0.0):
        made.pop("scale_factor", None)
        made.pop("add_offset", None)
    if mapping := found.encoding.get("grid_mapping"):
        made["grid_mapping"] = mapping
    if others := [str(name) for name in found.coords if name not in found.dims]:
        made["coordinates"] = " ".join(others)
    return made


def _plain(value: Any) -> Any:
    """An attribute's value: of bands that have no text, an empty one."""
    return ["" if each is None else each for each in value] if isinstance(value, tuple) else value


def _stored(shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]) -> Stored:
    """Tiles or strips of a band, of which each is read as one; how many bytes they take is not asked."""
    grid = grid_of(shape, chunks)
    zeros, lengths = (np.broadcast_to(np.uint64(value), grid) for value in (0, math.prod(chunks) * dtype.itemsize))
    return Stored(shape, chunks, zeros, lengths, Numbers(dtype))
