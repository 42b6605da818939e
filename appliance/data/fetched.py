"""Files and Zarr datasets over HTTP(S), fetched to S3 beside the place of what is made of them, for its time.

A server elsewhere is asked once for each file or chunk. From S3 all workers read it, as often as a copy and its
comparison need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from appliance.compute.reading import objects, placement_access
from appliance.data import DataError, own_loop
from appliance.data.http_get import Body, answered
from appliance.data.partial_copy import NoSpaceError
from appliance.data.progress_bar import Progressing
from appliance.data.stores import delete, exists
from appliance.data.zarr_elsewhere import ZarrElsewhere, is_dataset
from appliance.http_sources import HttpSources
from appliance.placement.model.s3_address import S3Address

VALIDATORS = ("etag", "last-modified", "content-length")  # headers that change with the content
STEP = "fetch"


def is_elsewhere(url: str) -> bool:
    """Whether an address is one of HTTP(S)."""
    return url.partition("://")[0].lower() in ("http", "https")


class Fetched:
    """The files of one copy.

    Args:
        target: where the dataset goes, ``s3://bucket/name``.
        group: of datasets in Zarr: whose variables are wanted; the root's if None.
        drop: variables of these that are not fetched.

    Attributes:
        is_wanted: whether a copy has begun that goes on with them when it is interrupted.
    """

    def __init__(self, target: str, group: str | None = None, drop: Sequence[str] = ()):
        self._group, self._drop = group, drop
        folder, _, name = target.rpartition("/")
        self.url, self._target = f"{folder}/.ingest-{name}.files", target
        self.is_wanted = False
        self._own: list[str] = []

    def __enter__(self) -> Fetched:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Delete what was fetched by this one for nothing: for a forecast, or for a copy that cannot be begun."""
        if self.is_wanted or not self._own:
            return
        if error is None or (isinstance(error, DataError) and not isinstance(error, NoSpaceError)):
            delete(self._own)
        else:
            error.add_note(
                f"{self.url}: what was fetched stays there. Ask for the same again to go on, or remove it: appliance "
                f"data abandon {self._target}"
            )

    def all(self, urls: Sequence[str], advance: Progressing, tell: Callable[[str], None]) -> list[str]:
        """Fetch what is elsewhere; return the addresses with those on S3 in its place.

        Raises:
            DataError: the site does not list an address, or there is no such file.
            OSError: a server is not reached, S3 refuses, or the answer breaks off.
        """
        if not any(map(is_elsewhere, urls)):
            return list(urls)
        sources = HttpSources.of_this_machine()
        made = []
        for url in urls:
            if is_elsewhere(url):
                made.append(self._dataset(url, sources, advance, tell) if is_dataset(url) else self._one(url, sources))
                tell(f"{url}: fetched as {made[-1]}, until the copy is there")
            else:
                made.append(url)
            advance(STEP, 1, len(urls))
        return made

    def _one(self, url: str, sources: HttpSources) -> str:
        with answered(url, sources) as answer:
            told = {name: answer.headers.get(name) for name in VALIDATORS}
            mark = hashlib.sha256(repr((url, told)).encode()).hexdigest()[:16]
            place = f"{self.url}/{mark}/{_name(url)}"
            # Whole objects appear at once. Without a mark of the content it may be another one by now.
            if (told["etag"] or told["last-modified"]) and exists(place):
                return place
            body = Body(url, answer)
            try:
                self._written(place, iter(body))
            except Exception as error:
                raise body.failure or error from error
        return place

    def _dataset(self, url: str, sources: HttpSources, advance: Progressing, tell: Callable[[str], None]) -> str:
        found = ZarrElsewhere.found(url, sources, self._group, self._drop)
        folder = f"{self.url}/{found.mark}"
        place = f"{folder}/{_name(url)}"
        try:
            begun, has_begun = found.begun, exists(f"{folder}/begun")
            if has_begun:
                begun = datetime.fromisoformat(fsspec.filesystem("s3").cat_file(f"{folder}/begun").decode())
            kept = self._below(place)
            if not has_begun:
                # Where the server does not say when something was changed, what is there may be another by now.
                delete([f"{place}/{key}" for key in kept])
                kept = set()
                if begun is not None:
                    self._written(f"{folder}/begun", begun.isoformat().encode())
            found.fetch(begun, kept, lambda key, data: self._written(f"{place}/{key}", data), advance, tell)
        except DataError:  # with what an earlier call has left: it would meet the same again
            self._own += [f"s3://{name}" for name in fsspec.filesystem("s3").find(f"{folder}/")]
            raise
        return place

    def _below(self, place: str) -> set[str]:
        start = f"{place.removeprefix('s3://')}/"
        return {name.removeprefix(start) for name in fsspec.filesystem("s3").find(start)}

    def _written(self, place: str, data: Any) -> None:
        address = S3Address.parse(place)
        part_bytes = placement_access.part_bytes()
        own_loop.run(objects.write(address.bucket, address.key, data, objects.own_access(), part_bytes))
        self._own.append(place)

    def remove(self) -> bool:
        """Delete them; whether there were any. Raises ``OSError``."""
        found = [f"s3://{name}" for name in fsspec.filesystem("s3").find(f"{self.url}/")]
        delete(found)
        return bool(found)

    def remove_told(self, tell: Callable[[str], None]) -> None:
        """Delete them; where S3 refuses, that is told, and that is all."""
        try:
            self.remove()
        except OSError as error:
            tell(f"{self.url}: what was fetched could not be deleted ({error}): appliance data abandon {self._target}")


def _name(url: str) -> str:
    """What the file or dataset is called. Raises ``DataError`` for a name that S3 cannot have."""
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2] or "dataset"
    if not objects.representable(name):
        raise DataError(f"{url}: has characters in its name that cannot be part of a name on S3")
    return name
