"""fsspec's "s3" in the facility: reads through the gateway on the process's own host, and counts what it reads.

Registered by the package's ``fsspec.specs`` entry point, so that plain ``xr.open_zarr("s3://…")`` uses it. Endpoint and
keys come from the process that reads (``AWS_ENDPOINT_URL``, ``AWS_SHARED_CREDENTIALS_FILE``), never from the graph.

The bytes of objects go over obstore (``appliance.compute.reading.objects``); names go over s3fs, which is
everything that fsspec knows of S3: listing, deleting, buckets, open files, versions.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fsspec.asyn import get_loop
from s3fs import S3FileSystem

from appliance.compute.reading import objects, placement_access, scratch
from appliance.compute.reading.objects import S3Access, Unchanged
from appliance.compute.reading.read_counter import counter

PLACE_AND_KEYS = ("endpoint_url", "key", "secret", "token", "username", "password")
HIDDEN = ("endpoint_url", "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
# Options that say no more than where S3 is and who asks: with others, s3fs does it all.
OBSTORE_KNOWS = {*PLACE_AND_KEYS, "anon", "profile", "config_kwargs", "client_kwargs", "asynchronous", "loop"}
# The gateway of a host may stop in mid-request: haproxy sends a new request elsewhere, so asking again is enough.
CLIENT = {
    "retries": {"mode": "standard", "max_attempts": 5},
    "max_pool_connections": 64,
    # TCP checks the way, and zarr's codecs the content where asked: one more checksum costs CPU on each chunk.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}

_left: list[Any] = []  # clients of a process that this one was forked from


class LocalS3FileSystem(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """S3 as this process sees it. Takes the options of ``s3fs.S3FileSystem``, by name.

    An ``endpoint_url`` that is another than the facility's own is kept with the keys that were given for it, and
    travels in graphs as with s3fs: such a store is the user's own affair. For the facility's own S3, an endpoint and
    keys given by hand are used in this process only.
    """

    protocol = ("s3", "s3a")
    # Of s3fs and fsspec, which have no types.
    _s3: Any
    _loop: Any
    _pid: int
    session: Any

    def __init__(self, **kwargs: Any):
        given_options = set(kwargs)
        kwargs["config_kwargs"] = {**CLIENT, **(kwargs.get("config_kwargs") or {})}
        # Workers write while the notebook looks: a listing that is kept would tell of a store that is no more so.
        kwargs.setdefault("use_listings_cache", "listings_expiry_time" in kwargs)
        super().__init__(**kwargs)
        given = self.endpoint_url or self.client_kwargs.get("endpoint_url") or ""
        self._foreign = bool(given) and given.rstrip("/") != os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
        self._plain = (
            not self._foreign
            and given_options <= {*OBSTORE_KNOWS, "use_listings_cache", "skip_instance_cache"}
            and set(self.client_kwargs) <= {*HIDDEN, "region_name"}
        )

    @property
    def loop(self) -> Any:
        """Return the event loop that does the work, of this process: fsspec's own refuses to work in a forked one."""
        self._after_fork()
        return super().loop

    async def set_session(self, refresh: bool = False, kwargs: dict[str, Any] | None = None) -> Any:
        """Return the client of s3fs, made where there is none yet."""
        self._after_fork()
        return await super().set_session(refresh=refresh, kwargs=kwargs or {})

    def _after_fork(self) -> None:
        """Begin anew where this process was forked from the one that made this: each has clients of its own."""
        if self._pid == os.getpid():
            return
        # Kept: to close them would take the parent's connections out of the event loop that both share.
        _left.append((self._s3, getattr(self, "_s3creator", None), self.session))
        self._s3 = self._s3creator = None
        if self._session_is_owned:
            self.session = None
        self._set_session_lock = asyncio.Lock()
        if not self.asynchronous:
            self._loop = get_loop()
        self._pid = os.getpid()

    def __reduce__(self) -> Any:
        make, (cls, arguments, options) = super().__reduce__()
        return make, (cls, arguments, options if self._foreign else _without_place(options))

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Describe the filesystem as fsspec does, without endpoint and keys of the facility's own S3."""
        described: dict[str, Any] = super().to_dict(include_password=include_password)
        return described if self._foreign else _without_place(described)

    def _access(self, key: str, *asked: Any) -> S3Access | None:
        """Return how obstore reaches an object; None where s3fs must.

        That is with another S3, versions, odd names or options, and in a process forked from one that used obstore.
        """
        known = self._plain and os.environ.get("AWS_ENDPOINT_URL") and objects.representable(key) and objects.usable()
        if not known or any(asked):
            return None
        own, more = objects.own_access(), self.client_kwargs
        return S3Access(
            endpoint=own.endpoint,
            region=more.get("region_name") or own.region,
            profile=self.kwargs.get("profile") or "",
            key=self.key or more.get("aws_access_key_id") or "",
            secret=self.secret or more.get("aws_secret_access_key") or "",
            token=self.token or more.get("aws_session_token") or "",
            anonymous=bool(self.anon),
        )

    async def _cat_file(
        self,
        path: str,
        version_id: str | None = None,
        start: int | None = None,
        end: int | None = None,
        if_match: str = "",
        if_unmodified_since: int = 0,
        **kwargs: Any,
    ) -> bytes:
        """Read as s3fs does; with ``if_match`` (an etag) or ``if_unmodified_since`` (s since 1970) that object only.

        Raises:
            OSError: it is another object by now.
            ExpiredError: it was a chunk of a dataset that has expired in a scratch bucket.
        """
        try:
            return await self._cat_there(path, version_id, start, end, Unchanged(if_match, if_unmodified_since), kwargs)
        except FileNotFoundError as error:
            bucket, key, _ = self.split_path(path)
            above = [] if self._foreign else scratch.metadata_above(bucket, key)
            # Afterwards: metadata that is there now was there when the chunk was not, and then it was never written.
            if above and not any(await asyncio.gather(*map(self._is_object, above))):
                raise scratch.expired(bucket, key) from error
            raise

    async def _is_object(self, path: str) -> bool:
        bucket, key, _ = self.split_path(path)
        try:
            await self._call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    async def _cat_there(
        self,
        path: str,
        version_id: str | None,
        start: int | None,
        end: int | None,
        unchanged: Unchanged,
        kwargs: dict[str, Any],
    ) -> bytes:
        bucket, key, version = self.split_path(path)
        access = self._access(key, version, version_id)
        if access is None and any(unchanged):
            return await self._cat_unchanged(path, start, end, unchanged)
        if access is None:
            # s3fs asks for the size first, to read large objects in parts at once: a second request for each chunk.
            kwargs.setdefault("max_concurrency", 1)
            data: bytes = await super()._cat_file(path, version_id=version_id, start=start, end=end, **kwargs)
            return data
        if (start is not None and start < 0 and end is not None) or (end is not None and end < 0):
            size = (await self._info(path))["size"]
            start, end, _ = slice(start, end).indices(size)
        if end is not None and (start or 0) >= end:
            return b""
        got = await objects.read(bucket, key, access, start, end, unchanged)
        counter().add(bucket, key, len(got.data), got.served_by, got.offset, got.size, got.etag)
        return got.data

    async def _cat_unchanged(self, path: str, start: int | None, end: int | None, unchanged: Unchanged) -> bytes:
        """Read over s3fs, which has no word for it, only the object that is meant."""
        bucket, key, _ = self.split_path(path)
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if start is not None or end is not None:
            asked["Range"] = await self._process_limits(path, start, end)
        if unchanged.etag:
            asked["IfMatch"] = unchanged.etag
        if unchanged.since:
            asked["IfUnmodifiedSince"] = datetime.fromtimestamp(unchanged.since, UTC)
        try:
            answer = await self._call_s3("get_object", **asked)
        except OSError as error:
            if getattr(error.__cause__, "response", {}).get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
                raise objects.changed(bucket, key) from error
            raise
        async with answer["Body"] as body:
            data: bytes = await body.read()
        return data

    async def _pipe_file(
        self, path: str, data: Any, chunksize: int | None = None, mode: str = "overwrite", **kwargs: Any
    ) -> Any:
        bucket, key, version = self.split_path(path)
        access = self._access(key, version, kwargs, mode != "overwrite")
        chunksize = chunksize or await self._part_bytes(data)
        if access is None:
            return await super()._pipe_file(path, data, chunksize=chunksize, mode=mode, **kwargs)
        await objects.write(bucket, key, data, access, chunksize)
        self.invalidate_cache(path)
        return None

    async def _put_file(self, lpath: str, rpath: str, *args: Any, chunksize: int | None = None, **kwargs: Any) -> None:
        chunksize = chunksize or await self._part_bytes()
        await super()._put_file(lpath, rpath, *args, chunksize=chunksize, **kwargs)

    async def _part_bytes(self, data: Any = None) -> int:
        """Return the size of a part of an upload. Nobody is asked where it does not matter."""
        is_small = hasattr(data, "__len__") and len(data) <= placement_access.PART_BYTES_MIN
        if self._foreign or is_small:
            return placement_access.PART_BYTES_WITHOUT_MAP
        return await asyncio.to_thread(placement_access.part_bytes)

    async def _call_s3(self, method: str, *arguments: Any, **kwargs: Any) -> Any:
        with _told_what_exists(kwargs):
            answer = await super()._call_s3(method, *arguments, **kwargs)
        if method == "get_object" and not self._foreign:
            nbytes = int(answer.get("ContentLength") or 0)
            offset, size = _range(answer.get("ContentRange") or "", nbytes)
            counter().add(
                kwargs.get("Bucket", ""),
                kwargs.get("Key", ""),
                nbytes,
                answer["ResponseMetadata"].get("HTTPHeaders", {}).get(objects.SERVED_BY, ""),
                offset,
                size,
                answer.get("ETag") or "",
            )
        return answer

    def call_s3(self, method: str, *arguments: Any, **kwargs: Any) -> Any:
        """Ask S3 as an open file does. Raises ``FileExistsError`` where the object was to be a new one and is not."""
        with _told_what_exists(kwargs):
            return super().call_s3(method, *arguments, **kwargs)


@contextmanager
def _told_what_exists(asked: Mapping[str, Any]) -> Iterator[None]:
    """Say which object exists already: RGW does not name the condition that failed, and s3fs then knows no more."""
    try:
        yield
    except OSError as error:
        failed = (getattr(error.__cause__, "response", None) or {}).get("Error", {})
        if asked.get("IfNoneMatch") != "*" or failed.get("Code") != "PreconditionFailed":
            raise
        path = f"s3://{asked['Bucket']}/{asked['Key']}"
        raise FileExistsError(errno.EEXIST, "there is an object already", path) from error.__cause__


def _range(content_range: str, nbytes: int) -> tuple[int, int]:
    """Return where an answer begins, and its object's size: "bytes 5-9/100" is 5 and 100 (RFC 9110, 14.4)."""
    span, _, size = content_range.removeprefix("bytes ").partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdecimal() else 0, int(size) if size.isdecimal() else nbytes


def _without_place(options: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name not in PLACE_AND_KEYS}
    if isinstance(kept.get("client_kwargs"), dict):
        kept["client_kwargs"] = {name: value for name, value in kept["client_kwargs"].items() if name not in HIDDEN}
    return kept
