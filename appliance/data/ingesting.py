"""Files into a Zarr dataset or an Icechunk repository on S3, which is compared with them before it can be seen."""

from __future__ import annotations

import functools
import hashlib
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.compute.reading import placement_access
from appliance.data import DataError, cf_checks, codec_choice, quiet
from appliance.data.any_source import open_source
from appliance.data.cataloguing.recording import record_made
from appliance.data.chunk_advice import ACCESS, MIB
from appliance.data.copy_job import CopyJob
from appliance.data.described import TOLD
from appliance.data.fetched import Fetched, is_elsewhere
from appliance.data.file_set import Files, expand
from appliance.data.icechunk_target import IcechunkTarget
from appliance.data.partial_copy import NoSpaceError
from appliance.data.preprocess import Preprocess
from appliance.data.progress_bar import Progressing, steps
from appliance.data.staged import ZarrTarget
from appliance.data.zarr_elsewhere import is_dataset
from appliance.data.zarr_source import checksum, kind_of
from appliance.placement.model.s3_address import S3Address

if TYPE_CHECKING:
    from distributed import Client

FORMATS = ("zarr", "icechunk")
CHECKS = ("sample", "all")
STEPS = {
    "chunks": "chunks fetched",
    "fetch": "files fetched",
    "look": "files looked at",
    "copy": "blocks copied",
    "compare": "files compared",
}
BLOCK_BYTES = 128 * MIB  # of values in a block


def ingest(
    sources: str | Path | Sequence[str | Path],
    target: str,
    *,
    access: str = "both",
    chunks: Mapping[str, int] | None = None,
    compression: str = codec_choice.MEASURED,
    format: str = "zarr",
    replace: bool = False,
    dim: str = "time",
    combine: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    check: str = "sample",
    forecast: bool = False,
    client: Client | None = None,
    block_bytes: int = BLOCK_BYTES,
    progress: Progressing | None = None,
    tell: Callable[[str], None] = print,
) -> str:
    """Copy files, or Zarr, into one dataset on S3, compare it with them, and only then let it be seen.

    A call that was interrupted, or met a full quota, is made again in the same words: it goes on where it ended. What
    was made is put into the catalogue of its bucket; where that fails, it is told, and that is all.

    Args:
        sources: addresses on S3 and paths of this machine, with wildcards if wished: of files in NetCDF, GRIB or
            GeoTIFF, or of datasets in Zarr, kerchunk's references or Icechunk; and addresses over HTTP(S) that the
            site lists, of files and (ending in ``.zarr`` or ``/``) of Zarr, which are fetched to S3 for as long as the
            copy takes.
        target: ``s3://bucket/name``.
        access: what the chunks are for: "map", "series" or "both".
        chunks: lengths of chunks by dimension that are wanted anyhow; -1 is the whole dimension.
        compression: "measured" tries several ways on some values; else one of ``codec_choice.WAYS``.
        format: "zarr", or "icechunk" for a repository whose branch ``main`` becomes the new dataset in one step.
        replace: whether what is on that branch may be replaced (``format`` is "icechunk" then).
        dim: the dimension along which several files are joined, in the order of its coordinate.
        combine: another coordinate by whose values they are put in order, along its dimension instead of ``dim``.
        group: the HDF5 group whose variables are wanted, the root's if None; of GRIB one of the datasets in it, by its
            keys.
        drop: variables that are left out.
        rename: new names of variables and dimensions by the old ones.
        check: "sample" compares all small arrays and of each large one the first chunk, the last and some at random;
            "all" compares everything, and so reads everything twice.
        forecast: tell what it will take, and write nothing.
        client: of a Dask cluster, whose workers copy what is on S3; this process does it all if None.
        block_bytes: of values that are in memory at once, for each thread; several times that is needed.
        progress: called with a step, how much more of it is done, and of how much; a bar is shown if None.
        tell: called with what the user should know.

    Returns:
        the address of the dataset.

    Raises:
        DataError: no such files, no NetCDF, files that would decode wrongly when joined, an unfinished copy of
            something else, or a dataset that differs from its files; nothing was published.
        OSError: S3 cannot be reached, or refuses; or a file cannot be read.
    """
    for value, name, known in ((access, "access", ACCESS), (format, "format", FORMATS), (check, "check", CHECKS)):
        if value not in known:
            raise DataError(f"{name} {value!r} is unknown: choose one of {', '.join(known)}")
    if replace and format != "icechunk":
        raise DataError(
            f"{target}: a dataset is replaced in one step by Icechunk alone: use --format icechunk, or name another "
            "place"
        )
    codec_choice.check(compression)
    quiet.codecs()
    urls = found([sources] if isinstance(sources, str | Path) else sources)
    place = IcechunkTarget(target, replace) if format == "icechunk" else ZarrTarget(target)
    for url in urls:
        if f"{place.url}/".startswith(f"{url}/"):
            raise DataError(
                f"{url}: a dataset is not copied into its own place, where its readers are: name another one than "
                f"{place.url}"
            )
    before, elsewhere = place.unfinished(), Fetched(place.url, group, drop)
    preprocess = Preprocess(tuple(drop), dict(rename or {}))
    wishes = {"access": access, "chunks": dict(chunks or {}), "compression": compression, "format": format}
    with (
        tempfile.TemporaryDirectory(prefix="appliance-ingest-") as folder,
        warnings.catch_warnings(),
        steps(STEPS) if progress is None else nullcontext(progress) as advance,
        elsewhere,
    ):
        warnings.simplefilter("ignore")  # of the libraries, about odd files: what matters is compared
        urls = elsewhere.all(urls, advance, tell)
        opener = functools.partial(open_source, dim=dim if len(urls) > 1 else "")
        files = Files(urls, group, preprocess, Path(folder), in_place=False, opener=opener)
        sums = {url: _checksum(url) for url in urls}
        described, parts = files.described(dim, combine, lambda step, _url: advance(step, 1, len(urls)))
        if not described.variables:
            groups = f"; its groups are {', '.join(described.groups)}: name one with --group" * bool(described.groups)
            raise DataError(f"{described.url}: there are no variables to copy{groups}")
        asked = {
            **wishes,
            **{"dim": dim, "combine": combine, "group": group, "drop": list(drop), "rename": dict(rename or {})},
            "sources": {url: [*map(str, state), sums[url]] for url, state in files.states.items()},
        }
        job = CopyJob(described, parts, files, preprocess, group, place, client, block_bytes, advance, tell)
        if before is None:
            for line in (*described.told(), *cf_checks.told(described)):
                tell(line)
            job.plan(access, chunks or {}, placement_access.object_bytes(), compression)
        else:
            _check_same(place.url, before, asked)
            tell(f"{place.url}: goes on with what was begun")
            job.resume()
        for line in job.forecast():
            tell(line)
        if forecast:
            return place.url
        if before is None:
            job.begin(asked)
        elsewhere.is_wanted = True
        try:
            job.copy()
            job.compare(check == "all")
            for url in urls:
                if _checksum(url) != sums[url]:
                    raise DataError(f"{url}: was changed while it was read: try again when it is at rest")
            place.publish()
        except BaseException as error:
            if isinstance(error, DataError) and not isinstance(error, NoSpaceError):
                try:
                    place.discard()
                    elsewhere.remove()
                except Exception as of_removal:  # what was wrong first is what the user has to know first
                    error.add_note(
                        f"{place.url}: what was written could not be deleted ({of_removal}): appliance data abandon "
                        f"{place.url}"
                    )
                raise
            told = place.plain(error)
            told.add_note(
                f"{place.url}: nothing can be seen there yet. Ask for the same again to go on, or remove what is "
                f"there: appliance data abandon {place.url}"
            )
            if told is error:
                raise
            raise told from error
        elsewhere.remove_told(tell)
        record_made(place.url, format, tell)
    return place.url


def rechunk(source: str | Path, target: str, *, tell: Callable[[str], None] = print, **options: Any) -> str:
    """Copy a dataset into other chunks, compare it with what it was copied from, and only then let it be seen.

    Args:
        source: address or path of a dataset in Zarr, kerchunk's references or Icechunk.
        target: ``s3://bucket/name``, another place.
        tell: called with what the user should know; first of all what it will take of disk and memory.
        options: as those of ``ingest``: ``access``, ``chunks``, ``compression``, ``format``, ``replace``, ``group``,
            ``drop``, ``rename``, ``check``, ``forecast``, ``client``, ``block_bytes`` and ``progress``.

    Returns:
        the address of the new dataset.

    Raises:
        DataError, OSError: as ``ingest``.
    """
    url = found([source])[0]
    if not (is_dataset(url) if is_elsewhere(url) else kind_of(url)):
        raise DataError(f"{url}: is no dataset in Zarr, kerchunk's references or Icechunk: ingest files")
    return ingest(url, target, tell=tell, **options)


def abandon(target: str) -> None:
    """Delete what an ingest that did not come to its end left at an address. Raises ``DataError`` if there is none."""
    S3Address.parse(target)
    is_repository = kind_of(target) == "icechunk"
    place = IcechunkTarget(target, replace=True) if is_repository else ZarrTarget(target)
    had_files = Fetched(place.url).remove()
    try:
        if place.unfinished(to_remove=True) is None:
            raise DataError(f"{target}: there is nothing unfinished")
    except DataError:
        if had_files:  # of a copy that was not begun yet, or is there
            return
        raise
    place.discard()


def found(sources: Sequence[str | Path]) -> list[str]:
    """The addresses and paths that are named, each once. Raises ``DataError`` where a name stands for nothing."""
    made: dict[str, None] = {}
    for source in map(str, sources):
        if is_elsewhere(source):
            if any(c in source for c in "*["):
                raise DataError(f"{source}: nobody lists what is elsewhere: name each file")
            made[source] = None
            continue
        if "://" in source:
            made |= dict.fromkeys(expand([source.rstrip("/")]))
            continue
        path = Path(source).expanduser().absolute()
        if path.exists() or not any(c in source for c in "*?["):
            made[str(path)] = None  # one that is not there is told with its name when it is opened
            continue
        matching = sorted(str(each) for each in Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not matching:
            raise DataError(f"{source}: no file has such a name")
        made |= dict.fromkeys(matching)
    if not made:
        raise DataError("no files are named: write s3://BUCKET/PREFIX/*.nc, or paths")
    return list(made)


def _checksum(url: str) -> str:
    """SHA-256 of a file of this machine, or of a dataset's objects. Of an object on S3, "": it has an ETag."""
    if kind_of(url):
        return checksum(url)
    if S3Address.find(url) is not None or not Path(url).is_file():
        return ""
    with Path(url).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_same(url: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ``DataError`` where something else was begun here."""
    others = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if others:
        said = "; ".join(
            _changed(before.get(key, {}), now.get(key, {}))
            if key == "sources"
            else f"{key} was {before.get(key)!r}, and is {now.get(key)!r}"
            for key in others
        )
        raise DataError(
            f"{url}: another ingest was begun here and did not come to its end ({said}): ask for the same again to go "
            f"on with it, or remove it: appliance data abandon {url}"
        )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which sources are others, as text: of many the first few."""
    changed = sorted(url for url in {*before, *now} if before.get(url) != now.get(url))
    what = {(True, True): "changed since", (False, True): "was not among the sources", (True, False): "is not any more"}
    said = ", ".join(f"{url} {what[url in before, url in now]}" for url in changed[:TOLD])
    return f"{said} and {len(changed) - TOLD} more" if len(changed) > TOLD else said
