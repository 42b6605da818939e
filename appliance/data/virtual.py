"""Virtual datasets: NetCDF files on S3 described as one Zarr dataset whose chunks stay where they are in the files.

The description (kerchunk's JSON, or an Icechunk repository) says for each chunk which object, from which byte, how
many. Opening it is plain xarray, and each chunk is placed and read as a Zarr chunk's object is.
"""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from appliance.data import DataError, quiet
from appliance.data.cataloguing.recording import record_made
from appliance.data.compared import Check
from appliance.data.file_set import Files, expand
from appliance.data.preprocess import Preprocess
from appliance.data.repositories import named
from appliance.data.sources import Readable
from appliance.data.stores import REFERENCES, exists, publish_icechunk, publish_references
from appliance.placement.model.s3_address import S3Address

FORMATS = ("kerchunk", "icechunk")
CHECKS = ("sample", "all")


def virtualize(
    sources: str | Sequence[str],
    target: str,
    *,
    dim: str = "time",
    combine: str | None = None,
    format: str = "kerchunk",
    group: str | None = None,
    drop: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    check: str = "sample",
    progress: Callable[[str, str], None] = lambda _step, _url: None,
    tell: Callable[[str], None] = lambda _text: None,
    catalogue: bool = True,
) -> str:
    """Describe NetCDF files on S3 as one dataset, and compare it with the files before it can be seen.

    Args:
        sources: addresses of files, with wildcards if wished (``s3://bucket/prefix/*.nc``).
        target: where the description goes; for kerchunk a name that ends in ``.json`` (added where it does not).
        dim: the dimension along which several files are joined, in the order of its coordinate.
        combine: another coordinate by whose values they are put in order, along its dimension instead of ``dim``.
        format: "kerchunk" or "icechunk".
        group: the HDF5 group whose variables are wanted; the root's if None.
        drop: variables that are left out.
        rename: new names of variables and dimensions by the old ones.
        check: "sample" compares all small arrays and of each large one the first chunk, the last and some at random;
            "all" compares everything, and so reads everything twice.
        progress: called with what was done ("look" at a file, "compare" a chunk, "check" a file) and the address.
        tell: called with what the user should know: what is another type than in the file, and what was compared.
        catalogue: whether it is put into the catalogue of its bucket. Where that fails, it is told, and that is all.

    Returns:
        the address of the dataset, which ``xr.open_zarr(virtual_store(address))`` opens.

    Raises:
        DataError: no such files, no NetCDF, files that would decode wrongly when joined, or a dataset that differs from
            its files; nothing was published.
        OSError: S3 cannot be reached, or refuses.
    """
    for value, name, known in ((format, "format", FORMATS), (check, "check", CHECKS)):
        if value not in known:
            raise DataError(f"{name} {value!r} is unknown: choose one of {', '.join(known)}")
    quiet.codecs()
    named(target)
    if format == "kerchunk":
        target = target if target.endswith(REFERENCES) else f"{target.rstrip('/')}{REFERENCES}"
        if exists(target):
            # Notebooks and workers keep the references that they have read: with new ones in the same place, some would
            # read by the old and some by the new.
            raise DataError(f"{target}: is there already: name another place, or delete it and open it in new clusters")
    urls = expand([sources] if isinstance(sources, str) else sources)
    preprocess = Preprocess(tuple(drop), dict(rename or {}))
    with tempfile.TemporaryDirectory(prefix="appliance-virtualize-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about odd files: what matters is compared
        files = Files(urls, group, preprocess, Path(folder))
        described, parts = files.described(dim, combine, progress)
        for line in described.told():
            tell(line)

        def compare(store: Any) -> None:
            made, times = _opened(store, format, files.source(parts[0][0]), drop)
            if not times:
                tell("xarray cannot decode the times, neither here nor in the files: open it with decode_times=False")
            done = Check(made, described, preprocess, check == "all", times)
            for number, (url, part) in enumerate(parts):
                done.file(files.source(url), part, number == 0, functools.partial(progress, "compare", url))
                progress("check", url)
            for name, note in done.notes.items():
                tell(f"{name}: {note}")
            tell(f"compared {done.values:,} values of {len(described.variables)} variables with {len(urls)} files")

        if format == "icechunk":
            made = publish_icechunk(described, target, sorted(buckets_of(urls)), compare)
        else:
            made = publish_references(described, target, compare)
        if catalogue:
            record_made(made, format, tell)
        return made


def _opened(store: Any, format: str, source: Readable, drop: Sequence[str]) -> tuple[xr.Dataset, bool]:
    """What was written, as a researcher opens it, and whether with its times decoded: as the file can be opened too.

    Raises ``DataError`` for what xarray does not open.
    """
    options: dict[str, Any] = {"consolidated": None if format == "kerchunk" else False, "chunks": None}
    try:
        return xr.open_zarr(store, **options), True
    except Exception as error:
        try:
            with source.opened(drop_variables=drop):
                pass
        except DataError as of_file:
            with source.opened(drop_variables=drop, decode_times=False):
                pass
            try:
                return xr.open_zarr(store, **options, decode_times=False), False
            except Exception:
                raise of_file from error
        raise DataError(f"{source.url}: cannot be opened in place: {error}; nothing was published") from error


def buckets_of(urls: Sequence[str]) -> set[str]:
    """Return the buckets of addresses."""
    return {S3Address.parse(url).bucket for url in urls}
