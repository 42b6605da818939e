"""Objects as files, for programs that know nothing but files: copies, each of which is one request.

A mount would need FUSE, which a researcher's unit has no right to (decision 47).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
import obstore
from obstore.exceptions import BaseError

from appliance.compute.reading import objects
from appliance.compute.reading.read_counter import counter
from appliance.data import DataError
from appliance.data.file_set import expand
from appliance.placement.model.s3_address import S3Address

PIECE_BYTES = 8 * 2**20  # that are in memory at once


def download(
    urls: Sequence[str], folder: Path | str, progress: Callable[[str, int], None] = lambda _url, _bytes: None
) -> list[Path]:
    """Copy objects into a folder, each under its own name.

    Args:
        urls: ``s3://bucket/key`` each, or with wildcards, ``s3://bucket/era5/*.nc``.
        folder: it is made where it is not there.
        progress: called with an address and its bytes when its copy is there.

    Returns:
        the files, in the order of the addresses; of wildcards in that of the names.

    Raises:
        DataError: two have the same name, or a file is there already; nothing was copied.
        FileNotFoundError: there is no such object. Files before it are there.
        OSError: S3 cannot be reached, or refuses, or the disk is full. No part of a file is left.
    """
    sources = expand(urls)
    paths = [Path(folder) / S3Address.parse(url).key.rpartition("/")[2] for url in sources]
    seen: dict[Path, str] = {}
    for url, path in zip(sources, paths, strict=True):
        if path in seen:
            raise DataError(f"{url} and {seen[path]} have the same name: copy them into different folders")
        if path.exists():
            raise DataError(f"{path}: is there already: remove it, or name another folder than {folder}")
        seen[path] = url
    Path(folder).mkdir(parents=True, exist_ok=True)
    for url, path in zip(sources, paths, strict=True):
        _copy(url, path)
        progress(url, path.stat().st_size)
    return paths


def _copy(url: str, path: Path) -> None:
    address = S3Address.parse(url)
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        with part.open("wb") as file:
            try:
                answer = obstore.get(objects.store(address.bucket, objects.own_access()), address.key)
                for piece in answer.stream(min_chunk_size=PIECE_BYTES):
                    file.write(piece)
            except BaseError as error:
                raise objects.plain(error, address.bucket, address.key) from error
            except FileNotFoundError as error:
                what = (
                    "is a folder or a dataset, and no file" if fsspec.filesystem("s3").exists(url) else "is not there"
                )
                raise FileNotFoundError(f"{url} {what}") from error
        size = answer.meta["size"]
        if part.stat().st_size != size:
            raise OSError(f"{url}: {part.stat().st_size:,} of {size:,} bytes came: ask for it again")
        served_by = answer.attributes.get(objects.SERVED_BY_METADATA, "")
        counter().add(address.bucket, address.key, size, served_by, 0, size, answer.meta["e_tag"] or "")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def as_files(words: Sequence[str], place: Path | None = None) -> Iterator[list[str]]:
    """Words of a command, with a copy's path in place of each ``s3://`` address; the copies go at the end.

    They can be read and not written: what a program changed in them would be lost.

    Args:
        words: an address with wildcards becomes several words.
        place: where the copies lie meanwhile; by default the home's cache, or where there is no home the temporary
            directory, which is memory.

    Raises:
        As ``download``.
    """
    if place is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        place = cache if _is_ours(cache) else None
    with tempfile.TemporaryDirectory(prefix="appliance-files-", dir=place) as folder:
        made: list[str] = []
        for number, word in enumerate(words):
            if not word.startswith("s3://"):
                made.append(word)
                continue
            copies = download([word], Path(folder) / str(number))
            for copy in copies:
                copy.chmod(0o400)
            made += map(str, copies)
        yield made


def _is_ours(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def run(command: Sequence[str], place: Path | None = None) -> int:
    """Run a program on objects as on files, and return its exit status.

    Raises:
        DataError: there is no such program.
        As ``as_files``.
    """
    with as_files(command, place) as words:
        try:
            return subprocess.run(words, check=False).returncode
        except FileNotFoundError as error:
            raise DataError(f"{words[0]}: is no program of this machine: ask your operators for it") from error
        except PermissionError as error:
            raise DataError(f"{words[0]}: cannot be run: {error.strerror}") from error
