"""One NetCDF file, on S3 or of this machine: where its arrays lie, and what xarray makes of it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import xarray as xr
from obstore.exceptions import BaseError

from appliance.compute.reading import objects
from appliance.data import DataError, hdf5_layout, netcdf3_layout
from appliance.data.local_file import LocalFile
from appliance.data.partial_copy import PartialCopy
from appliance.data.stored import Layout
from appliance.placement.model.s3_address import S3Address

HDF5 = b"\x89HDF\r\n\x1a\n"  # HDF5 File Format Specification 3.0, II.A
NETCDF3 = (b"CDF\x01", b"CDF\x02")  # classic and 64-bit offset format (NetCDF User's Guide, appendix on file formats)
CDF5 = b"CDF\x05"
OTHERS = {  # what else comes with the ending .nc, and the way out
    b"GRIB": "a GRIB file: `appliance data ingest` copies it into Zarr",
    b"\x1f\x8b": "compressed with gzip: `gunzip` it, and upload that",
    b"PK\x03\x04": "a zip archive, or a password-protected one: `unzip` it, and upload what is in it",
    b"7z\xbc\xaf": "a 7-zip archive: unpack it, and upload what is in it",
    b"BZh": "compressed with bzip2: `bunzip2` it, and upload that",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: `unzstd` it, and upload that",
    b"Salted__": "encrypted (openssl): decrypt it, and upload that",
    b"-----BEGIN PGP": "encrypted (PGP): decrypt it, and upload that",
    b"age-encryption": "encrypted (age): decrypt it, and upload that",
    b"\x0e\x03\x13\x01": "an HDF4 file: convert it (`h4toh5 IN OUT`), and upload that",
    b"II*\0": "a TIFF file: `appliance data ingest` copies it into Zarr",
    b"MM\0*": "a TIFF file: `appliance data ingest` copies it into Zarr",
    b"<": "a web page or XML, such as a portal's page to log in: look into it, and download the data again",
    b"{": "JSON",
}


LOOK = "`ncdump -h` tells more; leave a variable out with --preprocess drop=NAME, or rewrite the file"
REWRITE = "write it anew, with dimensions for all variables and with types that netCDF has"


class Readable(Protocol):
    """What is read: a file of NetCDF, GRIB or GeoTIFF, or a dataset (``any_source``)."""

    url: str
    group: str | None
    layout: Layout

    @property
    def copy(self) -> Any:
        """What is at hand of it (``PartialCopy``)."""

    def raw(self) -> AbstractContextManager[tuple[dict[str, xr.Variable], dict[str, Any]]]:
        """Variables as they are stored and the attributes of the group."""

    def opened(self, **options: Any) -> AbstractContextManager[xr.Dataset]:
        """It, as xarray opens it."""

    def named(self, what: str, way_out: str = ...) -> AbstractContextManager[None]:
        """Say errors of the libraries with its address."""


class Source:
    """A file; of one on S3 a partial copy, that lives as long as the folder that is given.

    Args:
        url: ``s3://bucket/key``, or a path of this machine.
        group: whose variables are wanted; the root's if None.
        folder: an empty one, for the copy.

    Raises:
        DataError: it is no NetCDF file, or a damaged one, or has no such group.
        OSError: S3 cannot be reached, or refuses.
    """

    def __init__(self, url: str, group: str | None, folder: Path):
        self.url, self.group = url, group
        self.copy = LocalFile(url) if S3Address.find(url) is None else PartialCopy(url, folder)
        self.layout = _layout(self.copy, group)
        if self.layout.nbytes > self.copy.nbytes:
            raise DataError(
                f"{url}: is truncated: it has {self.copy.nbytes:,} of at least {self.layout.nbytes:,} bytes: "
                "upload it again"
            )

    @contextlib.contextmanager
    def raw(self) -> Iterator[tuple[dict[str, xr.Variable], dict[str, Any]]]:
        """Variables as they are stored and the attributes of the group, by xarray; what is a hole must not be read."""
        with self.named("the netCDF library cannot open it, so xarray cannot either", REWRITE):
            store = xr.backends.NetCDF4DataStore.open(str(self.copy.path), group=self.group)
        try:
            with self.named("xarray cannot read it"):
                variables, attributes = store.load()
            yield dict(variables), dict(attributes)
        finally:
            store.close()

    @contextlib.contextmanager
    def opened(self, **options: Any) -> Iterator[xr.Dataset]:
        """The file as xarray opens it; what is a hole must not be read."""
        with self.named("xarray cannot decode it"):
            dataset = xr.open_dataset(self.copy.path, group=self.group, engine="netcdf4", cache=False, **options)
        with dataset:
            yield dataset

    @contextlib.contextmanager
    def named(self, what: str, way_out: str = LOOK) -> Iterator[None]:
        """Say errors of the libraries with the file's address for the copy's path, and show none of their warnings."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except DataError:
            raise
        except Exception as error:
            said = str(error).replace(str(self.copy.path), self.url).strip().splitlines() or [repr(error)]
            told = ". ".join([said[0], *getattr(error, "__notes__", [])])  # xarray notes which variable it was
            raise DataError(f"{self.url}: {what}: {told}; way out: {way_out}") from error


def _layout(copy: PartialCopy | LocalFile, group: str | None) -> Layout:
    url = copy.url
    first = copy.begins(16)
    try:
        if first.startswith(HDF5):
            return hdf5_layout.read(url if isinstance(copy, LocalFile) else _reader(url), group)
        if first.startswith(NETCDF3):
            if group:
                raise DataError(f"{url}: a netCDF-3 file has no group {group!r}: leave --group out")
            return netcdf3_layout.read(url, copy.nbytes)
    except DataError:
        raise
    except BaseError as error:  # obstore's: S3 is to blame, not the file
        address = S3Address.parse(url)
        raise objects.plain(error, address.bucket, address.key) from error
    except hdf5_layout.UnreadableError as error:
        raise DataError(f"{url}: {error}") from error
    except hdf5_layout.NoGroupError as error:
        raise DataError(f"{url}: has no group {group!r}; it has: {error}") from error
    except Exception as error:  # h5py and scipy say what they met in many ways, and number none of it
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{url}: is truncated or damaged ({error}): upload it again, or make it anew") from error
    if first.startswith(CDF5):
        raise DataError(f"{url}: is in the CDF-5 format; way out: `nccopy -k netCDF-4 IN OUT`, and upload that")
    other = next((what for magic, what in OTHERS.items() if first.startswith(magic)), None)
    if other:
        raise DataError(f"{url}: is neither HDF5/netCDF-4 nor netCDF-3, but {other}")
    raise DataError(f"{url}: is neither HDF5/netCDF-4 nor netCDF-3; it begins with {first[:8]!r}")


def _reader(url: str) -> Any:
    """A file object for h5py, which reads blocks that it remembers."""
    from obspec_utils.readers import BlockStoreReader

    address = S3Address.parse(url)
    return BlockStoreReader(objects.store(address.bucket, objects.own_access()), address.key)
