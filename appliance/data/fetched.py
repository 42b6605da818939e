"""Files over HTTP(S), fetched to S3 beside the place of the dataset that is made of them, and deleted when it is there.

A server elsewhere is asked once for each file. From S3 all workers read it, as often as a copy and its comparison need.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote, urlsplit

import fsspec

from appliance.compute.reading import objects, placement_access
from appliance.data import DataError, own_loop
from appliance.data.http_get import answered
from appliance.data.partial_copy import NoSpaceError
from appliance.data.progress_bar import Progressing
from appliance.data.stores import delete, exists
from appliance.http_sources import HttpSources
from appliance.placement.model.s3_address import S3Address

PIECE_BYTES = 8 * 2**20
VALIDATORS = ("etag", "last-modified", "content-length")  # headers that change with the content
STEP = "fetch"


def is_elsewhere(url: str) -> bool:
    """Whether an address is one of HTTP(S)."""
    return url.partition("://")[0].lower() in ("http", "https")


class Fetched:
    """The files of one copy.

    Args:
        target: where the dataset goes, ``s3://bucket/name``.

    Attributes:
        is_wanted: whether a copy has begun that goes on with them when it is interrupted.
    """

    def __init__(self, target: str):
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
                made.append(self._one(url, sources))
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
            address = S3Address.parse(place)
            body = _Body(url, answer)
            writing = objects.write(
                address.bucket, address.key, iter(body), objects.own_access(), placement_access.part_bytes()
            )
            try:
                own_loop.run(writing)
            except Exception as error:
                raise body.failure or error from error
            self._own.append(place)
        return place

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


class _Body:
    """The bytes of an answer.

    Attributes:
        failure: why it broke off, if it did; obstore, which is given the bytes, keeps that to itself.
    """

    def __init__(self, url: str, answer: http.client.HTTPResponse):
        self._url, self._answer = url, answer
        self.failure: OSError | None = None

    def __iter__(self) -> Iterator[bytes]:
        left = self._answer.length
        try:
            while piece := self._answer.read(PIECE_BYTES):
                left = None if left is None else left - len(piece)
                yield piece
            if left:
                raise OSError(f"{left:,} bytes before its end")
        except (http.client.HTTPException, OSError) as error:
            self.failure = OSError(f"{self._url}: the answer breaks off ({error}): ask for the same again")
            raise self.failure from error


def _name(url: str) -> str:
    """What the file is called. Raises ``DataError`` for a folder, and for a name that S3 cannot have."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name.endswith(".zarr"):
        raise DataError(f"{url}: is a folder, and only files are fetched: name a file, or open it with xarray yourself")
    if not objects.representable(name):
        raise DataError(f"{url}: has characters in its name that cannot be part of a name on S3")
    return name
