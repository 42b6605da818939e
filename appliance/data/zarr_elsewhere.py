"""A Zarr dataset over HTTP(S), fetched object by object: which there are is told by its metadata, as HTTP has no lists.

A chunk that is not there (404) is one of fill values where the dataset has consolidated metadata, which is made for
readers that cannot list, or where the server's own page of the folder does not name it. Anything else that keeps a
chunk away is an error that names it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from appliance.compute.reading import objects, placement_access
from appliance.data import DataError, folder_page
from appliance.data.http_get import BY_HAND, Body, HttpError, NotThereError, answered
from appliance.data.progress_bar import Progressing
from appliance.data.stored import grid_of
from appliance.http_sources import HttpSources

AT_ONCE = 8  # chunks on the way
WAITS = (1.0, 5.0)  # s before a server that has a fault is asked again
METADATA_BYTES = 64 * 2**20  # of one document
STEP = "chunks"
V3, V2 = "zarr.json", ".zmetadata"

T = TypeVar("T")
Write = Callable[[str, Any], None]  # of a key, with bytes or an iterator of them


def is_dataset(url: str) -> bool:
    """Whether an address is taken for a dataset's and not for a file's: it ends in ``.zarr`` or ``/``."""
    return urlsplit(url).path.endswith((".zarr", "/"))


@dataclass
class Variable:
    """An array of the dataset.

    Attributes:
        path: of it, in the dataset.
        grid: how many chunks (shards, where it has any) there are along each dimension.
        key: of a chunk's object, by the chunk's index.
        has_fill: whether it says what a chunk holds that is not there.
    """

    path: str
    grid: tuple[int, ...]
    key: Callable[[tuple[int, ...]], str]
    has_fill: bool

    def chunks(self) -> Iterator[tuple[Variable, str]]:
        """The chunks' keys in the dataset."""
        return ((self, f"{self.path}/{self.key(index)}") for index in itertools.product(*map(range, self.grid)))


@dataclass
class ZarrElsewhere:
    """A dataset, of which the metadata are there.

    Attributes:
        url: of it.
        sources: what the site lists.
        documents: all metadata by key.
        asked: those that the server was asked for.
        consolidated: whether one document has told all others.
        begun: when the first of them was handed out, by the server's clock; None where chunks would not tell by theirs
            whether they are younger.
        variables: that are wanted.
    """

    url: str
    sources: HttpSources
    documents: dict[str, bytes] = field(default_factory=dict)
    asked: dict[str, bytes] = field(default_factory=dict)
    consolidated: bool = False
    begun: datetime | None = None
    variables: list[Variable] = field(default_factory=list)

    @classmethod
    def found(cls, url: str, sources: HttpSources, group: str | None, drop: Collection[str]) -> ZarrElsewhere:
        """Look at a dataset.

        Raises:
            DataError: the site does not list it, it is none, or what is in it cannot be found.
            OSError: the server is not reached, or has a fault.
        """
        if urlsplit(url).query:
            raise DataError(f"{url}: an address with a query (?) is that of a file, not of a dataset: {BY_HAND}")
        made = cls(url, sources)
        made._look((group or "").strip("/"))
        for key in made.documents:
            if not objects.representable(key):
                raise DataError(f"{url}: has {key!r} in its metadata, which cannot be part of a name on S3")
        made.variables = made._variables(group, drop)
        return made

    @property
    def mark(self) -> str:
        """What changes with the address and the metadata."""
        return hashlib.sha256(repr((self.url, sorted(self.documents.items()))).encode()).hexdigest()[:16]

    # The metadata

    def _look(self, group: str) -> None:
        whole = self._document(V3)
        if whole is not None:
            told = self._parsed(V3, whole)
            if told.get("node_type") != "group":
                raise DataError(f"{self.url}: is an array, not a dataset: name the group that it is in")
            nodes = (told.get("consolidated_metadata") or {}).get("metadata")
            if nodes is not None:
                self.documents |= {f"{path}/{V3}": _text(node) for path, node in nodes.items()}
        else:
            whole = self._document(V2)
            nodes = None if whole is None else self._parsed(V2, whole).get("metadata")
            if nodes is not None:
                self.documents |= {".zgroup": b'{"zarr_format": 2}'} | {key: _text(node) for key, node in nodes.items()}
            elif self._document(".zgroup") is None:
                raise DataError(
                    f"{self.url}: is no Zarr dataset: there is neither {V3} nor {V2} nor .zgroup: name its root, and "
                    "what is within it with --group"
                )
        self.consolidated = nodes is not None
        if not self.consolidated:
            self._walk(group, V3 in self.documents)

    def _walk(self, group: str, is_v3: bool) -> None:
        """Metadata of a group, by the page on which the server lists its folder."""
        names = (V3,) if is_v3 else (".zgroup", ".zarray", ".zattrs")
        parts = group.split("/") if group else []
        for depth in range(len(parts) + 1):
            self._node("/".join(parts[:depth]), names)
        listed = self._listed(group)
        if listed is None:
            raise DataError(
                f"{self.url}: has no consolidated metadata, and the server shows no list of its folder, so nobody can "
                f"know what is in it: whoever keeps it can consolidate it (zarr.consolidate_metadata), or {BY_HAND}"
            )
        for name in sorted(listed):
            self._node(f"{group}/{name}".strip("/"), names)

    def _node(self, path: str, names: Sequence[str]) -> None:
        for name in names:
            self._document(f"{path}/{name}".strip("/"))

    def _document(self, key: str) -> bytes | None:
        """A document; None where it is not there."""
        if key not in self.asked:
            content = self._content(key)
            if content is None:
                return None
            self._parsed(key, content)
            self.asked[key] = self.documents[key] = content
        return self.asked[key]

    def _content(self, key: str) -> bytes | None:
        url = self._url(key)
        try:
            with answered(url, self.sources) as answer:
                if not self.asked and answer.headers["last-modified"]:
                    self.begun = _date(answer.headers["date"])
                content = bytearray()
                for piece in Body(url, answer):
                    content += piece
                    if len(content) > METADATA_BYTES:
                        raise DataError(
                            f"{url}: is larger than {METADATA_BYTES:,} bytes, as no metadata are: {BY_HAND}"
                        )
                return bytes(content)
        except NotThereError:
            return None

    def _parsed(self, key: str, content: bytes) -> dict[str, Any]:
        try:
            made = json.loads(content)
        except ValueError as error:
            raise DataError(f"{self._url(key)}: is no JSON ({error}): look at the address in a browser") from error
        if not isinstance(made, dict):
            raise DataError(f"{self._url(key)}: is no JSON object, as the metadata of Zarr are")
        return made

    def _url(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{quote(key)}"

    def _variables(self, group: str | None, drop: Collection[str]) -> list[Variable]:
        import zarr
        from zarr.core.buffer import default_buffer_prototype

        buffer = default_buffer_prototype().buffer
        store = zarr.storage.MemoryStore({key: buffer.from_bytes(text) for key, text in self.documents.items()})
        try:
            found = [array for name, array in zarr.open_group(store, mode="r", path=group).arrays() if name not in drop]
            return [
                Variable(
                    array.path,
                    grid_of(array.shape, array.shards or array.chunks),
                    array.metadata.encode_chunk_key,
                    array.metadata.fill_value is not None,
                )
                for array in found
            ]
        except Exception as error:  # of what Zarr does not know, in many ways
            raise DataError(f"{self.url}: Zarr cannot open {group or 'it'}: {error}") from error

    # The chunks

    def fetch(
        self,
        begun: datetime | None,
        kept: Collection[str],
        write: Write,
        advance: Progressing,
        tell: Callable[[str], None],
    ) -> None:
        """Fetch all chunks, then put the metadata beside them.

        Args:
            begun: when the fetching began, by the server's clock; what is younger is refused.
            kept: keys that an earlier call has fetched since then.
            write: puts what was fetched in its place; from several threads.
            advance: called with the step, how many more chunks are there, and of how many.
            tell: called with what the user should know.

        Raises:
            DataError: a chunk is refused, not there though it should be, or another than when the fetching began.
            OSError: the server is not reached, or has a fault; or S3 refuses.
        """
        total = sum(math.prod(variable.grid) for variable in self.variables)
        missing: Counter[str] = Counter()
        lists = _Lists(self)

        def one(variable: Variable, key: str) -> tuple[str, bool]:
            return variable.path, key in kept or self._chunk(variable, key, begun, write, lists)

        chunks = (chunk for variable in self.variables for chunk in variable.chunks())
        for path, is_there in _at_once(one, chunks):
            missing[path] += not is_there
            advance(STEP, 1, total)
        if total and missing.total() == total:
            raise DataError(
                f"{self.url}: none of its {total:,} chunks is there, as if they were kept elsewhere than the metadata: "
                "look at the address"
            )
        for key, content in self.asked.items():
            if self._content(key) != content:
                raise self._changed(key)
        for key, content in self.documents.items():
            if key not in kept:
                write(key, content)
        if not self.consolidated:
            tell(
                f"{self.url}: has no consolidated metadata; by the server's own list of the folder it has the "
                f"variables {', '.join(sorted(variable.path for variable in self.variables))}"
            )
        for variable in self.variables:
            if missing[variable.path]:
                tell(
                    f"{self.url}: variable {variable.path!r}: {missing[variable.path]:,} of its "
                    f"{math.prod(variable.grid):,} chunks are not there, and hold its fill value"
                )

    def _chunk(self, variable: Variable, key: str, begun: datetime | None, write: Write, lists: _Lists) -> bool:
        """Fetch a chunk; whether there is one."""
        for seconds in (*WAITS, None):
            try:
                return self._written(key, begun, write)
            except NotThereError as error:
                if not variable.has_fill:
                    why = f"variable {variable.path!r} has no fill value (null), so it has to be"
                elif self.consolidated or lists.say_missing(key, variable.path):
                    return False
                else:
                    why = (
                        "nothing says that it may be missing: the dataset has no consolidated metadata, and no list of "
                        "the folder leaves it out"
                    )
                raise DataError(f"{self._url(key)}: is not there (404), and {why}: {BY_HAND}") from error
            except HttpError:
                if seconds is None:
                    raise
                time.sleep(seconds)
        raise AssertionError

    def _written(self, key: str, begun: datetime | None, write: Write) -> bool:
        url = self._url(key)
        with answered(url, self.sources) as answer:
            if answer.headers.get_content_type() == "text/html":
                raise DataError(f"{url}: is a web page, such as one to log in, and no chunk: {BY_HAND}")
            changed = _date(answer.headers["last-modified"])
            if begun is not None and changed is not None and changed > begun:
                raise self._changed(key)
            body = Body(url, answer)
            is_small = _length(answer) <= placement_access.part_bytes()
            try:
                write(key, b"".join(body) if is_small else iter(body))
            except Exception as error:
                raise body.failure or error from error
        return True

    def _changed(self, key: str) -> DataError:
        return DataError(f"{self._url(key)}: was changed while the dataset was fetched: try again when it is at rest")

    def _listed(self, path: str) -> set[str] | None:
        return folder_page.names(self._url(path), self.sources)


class _Lists:
    """What the server lists of the folders, each looked at once."""

    def __init__(self, dataset: ZarrElsewhere):
        self._dataset = dataset
        self._known: dict[str, set[str] | None] = {}
        self._lock = threading.Lock()

    def say_missing(self, key: str, array: str) -> bool:
        """Whether the list of a folder leaves a key out, or its folder, up to that of the array."""
        folder, _, name = key.rpartition("/")
        with self._lock:
            if folder not in self._known:
                self._known[folder] = self._dataset._listed(folder)
            names = self._known[folder]
        if names is not None:
            return name not in names
        return folder != array and self.say_missing(folder, array)


def _at_once(do: Callable[..., T], chunks: Iterator[tuple[Variable, str]]) -> Iterator[T]:
    """Do something with all chunks, in threads; the first error ends it, when what was begun has ended."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
        running = {pool.submit(do, *chunk) for chunk in itertools.islice(chunks, AT_ONCE)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
            running |= {pool.submit(do, *chunk) for chunk in itertools.islice(chunks, len(done))}


def _text(node: dict[str, Any]) -> bytes:
    """A node's own document. What consolidated metadata say of a group within has empty ones of its own, as if true."""
    return json.dumps({key: value for key, value in node.items() if key != "consolidated_metadata"}).encode()


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text or "").replace(tzinfo=UTC)  # HTTP knows no other (RFC 9110, section 5.6.7)
    except ValueError:
        return None


def _length(answer: HTTPResponse) -> float:
    return math.inf if answer.length is None else answer.length
