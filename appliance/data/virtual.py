"""Virtual datasets: NetCDF files on S3 described as one Zarr dataset whose chunks stay where they are in the files.

The description (kerchunk's JSON, or an Icechunk repository) says for each chunk which object, from which byte, how
many. Opening it is plain xarray, and each chunk is placed and read as a Zarr chunk's object is.
"""

from __future__ import annotations

import errno
import functools
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import xarray as xr

from appliance.data import DataError, quiet
from appliance.data.compared import Check, Part
from appliance.data.contiguous import cut
from appliance.data.described import Described, describe, dimension_of
from appliance.data.files import check_joinable, in_order, is_ordered, joined
from appliance.data.preprocess import Preprocess
from appliance.data.repositories import named
from appliance.data.sources import Source
from appliance.data.stores import REFERENCES, exists, publish_icechunk, publish_references
from appliance.placement.model.s3_address import S3Address

FORMATS = ("kerchunk", "icechunk")
CHECKS = ("sample", "all")
TOLD = 12  # names of a list that is told
COPIES_BYTES = 64 * 2**20  # of files' partial copies on the disk; of more files they are fetched twice


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
        files = _Files(urls, group, preprocess, Path(folder))
        described, parts = files.described(dim, combine, progress)
        for name, note in described.notes.items():
            tell(f"{name}: {note}")
        left_out = sorted(f"{name}:{key}".removeprefix(":") for name, keys in described.dropped.items() for key in keys)
        if left_out:
            tell(
                f"attributes that differ between the files are left out: {', '.join(left_out[:TOLD])}{_more(left_out)}"
            )

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
            return publish_icechunk(described, target, sorted(buckets_of(urls)), compare)
        return publish_references(described, target, compare)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - TOLD} more" if len(names) > TOLD else ""


def _opened(store: Any, format: str, source: Source, drop: Sequence[str]) -> tuple[xr.Dataset, bool]:
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


class _Files:
    """The files, each with a folder for its partial copy, of which no more than ``COPIES_BYTES`` are kept."""

    def __init__(self, urls: Sequence[str], group: str | None, preprocess: Preprocess, folder: Path):
        self._urls, self._group, self._preprocess, self._folder = urls, group, preprocess, folder
        self._sources: dict[str, Source] = {}
        self._bytes: dict[str, int] = {}  # that their copies take
        self._states: dict[str, Any] = {}
        self._dim: str | None = None
        self._by: str | None = None
        self._count = 0

    def source(self, url: str) -> Source:
        """The file with all but its large arrays at hand. Raises ``DataError`` where it was changed since."""
        if url not in self._sources:
            self._describe(url, kept=False)
        return self._sources[url]

    def _open(self, url: str) -> Source:
        while self._sources and sum(self._bytes.values()) > COPIES_BYTES:
            oldest = next(iter(self._sources))
            self._bytes.pop(oldest, None)
            shutil.rmtree(self._sources.pop(oldest).copy.path.parent)
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        self._sources[url] = source = Source(url, self._group, folder)
        if self._states.setdefault(url, source.copy.state) != source.copy.state:
            raise DataError(f"{url}: was changed while it was read: try again when it is at rest")
        return source

    def _describe(self, url: str, kept: bool) -> Described:
        source = self._sources.get(url) or self._open(url)
        made = describe(source, self._preprocess, self._dim, self._by, kept)
        self._bytes[url] = source.copy.kept_bytes
        return made

    def described(
        self, dim: str, combine: str | None, progress: Callable[[str, str], None]
    ) -> tuple[Described, list[tuple[str, Part]]]:
        """All files as one dataset, and which part of it each is."""
        several = len(self._urls) > 1
        if combine is not None:
            dim = dimension_of(self._open(self._urls[0]), self._preprocess, combine)
        self._dim, self._by = (dim, combine) if several else (None, None)
        each: list[Described] = []
        for number, url in enumerate(self._urls):
            each.append(self._describe(url, kept=number == 0))
            progress("look", url)
        self._check_names(each)
        each = cut(each)
        if not several:
            return each[0], [(each[0].url, Part())]
        kept = each[0]
        lengths = {one.url: one.sizes[dim] for one in each}
        empty = next((url for url, length in lengths.items() if not length), None)
        if empty:
            raise DataError(f"{empty}: its dimension {dim!r} has the length 0: leave the file out")
        each = in_order(each, dim, combine)
        check_joinable(each, dim)
        parts, start = [], 0
        for one in each:
            parts.append((one.url, Part(dim, start, lengths[one.url])))
            start += lengths[one.url]
        dataset = joined(each, dim, kept)
        if not is_ordered(each, combine or dim):
            note = "has no numbers or times to go by: the files are joined in the order in which they were named"
            dataset.notes.setdefault(dim, note)
        return dataset, parts

    @staticmethod
    def _check_names(each: Sequence[Described]) -> None:
        """Raise ``DataError`` for a name to drop or rename that no file has: it may be misspelt."""
        unknown = frozenset.intersection(*(one.unknown for one in each))
        if unknown:
            whose = each[0].url if len(each) == 1 else f"{each[0].url} and all other files"
            has = ", ".join(sorted({*each[0].variables, *each[0].sizes}))
            raise DataError(f"{whose}: no variable is called {min(unknown)!r}; there are: {has}")


def expand(patterns: Sequence[str]) -> list[str]:
    """The addresses that the patterns name, each once. Raises ``DataError`` for a pattern that names nothing."""
    files = fsspec.filesystem("s3")
    files.invalidate_cache()  # what other processes wrote since counts
    found: dict[str, None] = {}
    for pattern in patterns:
        S3Address.parse(pattern)
        matching = [pattern]
        if any(c in pattern for c in "*?["):
            try:
                matching = [files.unstrip_protocol(name) for name in files.glob(pattern)]
            except PermissionError as error:
                raise PermissionError(errno.EACCES, "S3 refuses: you have no right to list it", pattern) from error
        if not matching and exists(pattern):  # an object whose name has such characters in it
            matching = [pattern]
        if not matching:
            raise DataError(
                f"{pattern}: no object has such a name; `fsspec.filesystem('s3').ls(…)` lists what is there"
            )
        found |= dict.fromkeys(matching)
    if not found:
        raise DataError("no files are named: write s3://BUCKET/PREFIX/*.nc")
    return list(found)


def buckets_of(urls: Sequence[str]) -> set[str]:
    """Return the buckets of addresses."""
    return {S3Address.parse(url).bucket for url in urls}
