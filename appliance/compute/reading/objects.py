"""The bytes of S3 objects over obstore, as this process reaches S3: objects and ranges of them, read and written.

obstore needs a third to two thirds of s3fs's CPU for a byte, and asks for an object without asking for its size first.
Endpoint and keys are the process's own: nothing here is ever part of a graph.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import S3Store

from appliance.placement.auth.machine_settings import SETTINGS
from appliance.placement.model.s3_address import S3Address

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import RetryConfig, S3Credential

PARTS_AT_ONCE = 4  # parts that wait in memory and on the way
# The name of the host whose gateway answered is in this header of each answer (haproxy, role s3_endpoint).
SERVED_BY = "x-appliance-served-by"
# obstore hands on user metadata and no other header. Who sends this one is told as metadata too; it is signed with the
# rest. Nobody else is: copying tools would write it into the objects that they copy.
READER = "x-appliance-reader"
SERVED_BY_METADATA = "appliance-served-by"
# A gateway that stops is taken out by haproxy within seconds. Both ways of asking again are safe: a GET changes
# nothing, and a PUT of the same bytes to the same key may be done twice.
RETRY: RetryConfig = {
    "max_retries": 8,
    "retry_timeout": timedelta(seconds=240),
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=4), "base": 2},
}
KEYS_AGE = timedelta(minutes=10)  # after which the keys are looked up again, since an operator may renew them


class S3Access(NamedTuple):
    """Where S3 is, and who asks.

    Attributes:
        endpoint: an http URL.
        region: S3's region.
        profile: whose keys botocore looks up where ``key`` is empty; "" is its default.
        key: the access key.
        secret: the secret key.
        token: the session token, "" if there is none.
        anonymous: whether requests are not signed at all.
    """

    endpoint: str
    region: str = "us-east-1"
    profile: str = ""
    key: str = ""
    secret: str = ""
    token: str = ""
    anonymous: bool = False


def own_access() -> S3Access:
    """Return the facility's S3, as the process's environment names it.

    Raises:
        ValueError: it names none.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
    if not endpoint:
        raise ValueError(f"AWS_ENDPOINT_URL is not set: on the facility's machines it stands in {SETTINGS}")
    return S3Access(endpoint, region=os.environ.get("AWS_DEFAULT_REGION") or "us-east-1")


class ObjectBytes(NamedTuple):
    """What one request brought.

    Attributes:
        data: the bytes.
        offset: where in the object they begin.
        served_by: the host whose gateway answered, "" if it did not say.
        size: bytes of the object.
        etag: the object's etag, in quotes as S3 sends it.
    """

    data: bytes
    offset: int
    served_by: str
    size: int
    etag: str


class Unchanged(NamedTuple):
    """What tells that an object is still the same. Empty values tell nothing.

    Attributes:
        etag: the etag that it must have.
        since: seconds since 1970; it must not have been written later.
    """

    etag: str = ""
    since: int = 0


def representable(key: str) -> bool:
    """Return whether obstore can name an object: no empty parts, no "." or "..", and no control characters."""
    return key.isprintable() and all(part not in ("", ".", "..") for part in key.split("/"))


_stores: dict[tuple[str, S3Access], S3Store] = {}
_lock = threading.Lock()
_left: list[Any] = []  # clients of a process that this one was forked from


def _forked() -> None:
    """Forget the clients of the process that this one was forked from.

    They are kept, as ending them would wait for threads that stayed behind.
    """
    global _stores, _lock
    if _stores:
        _left.append(_stores)
    _stores, _lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_forked)


def usable() -> bool:
    """Return whether obstore works in this process.

    It does not in one that was forked from a process that used it: the threads in which it works stayed there, and
    whatever it is asked would be waited for without end.
    """
    return not _left


def store(bucket: str, access: S3Access) -> S3Store:
    """Return this process's client of a bucket. Made once: it holds the connections."""
    with _lock:
        made = _stores.get((bucket, access))
        if made is None:
            made = _stores[bucket, access] = S3Store(
                bucket,
                endpoint=access.endpoint,
                region=access.region,
                virtual_hosted_style_request=False,
                skip_signature=access.anonymous,
                credential_provider=None if access.anonymous else _keys(access),
                # The time is for a whole answer. A gateway that says nothing is given up much earlier.
                client_options={
                    "allow_http": access.endpoint.startswith("http://"),
                    "default_headers": {READER: "1"},
                    "timeout": "10min",
                    "read_timeout": "60s",
                },
                retry_config=RETRY,
            )
        return made


def _keys(access: S3Access) -> Callable[[], S3Credential]:
    """Return a credential provider that finds keys as botocore (and so s3fs, boto3 and the AWS tools) does."""

    def keys() -> S3Credential:
        if access.key:
            return {
                "access_key_id": access.key,
                "secret_access_key": access.secret,
                "token": access.token or None,
                "expires_at": None,
            }
        from botocore.session import Session

        found = Session(profile=access.profile or None).get_credentials()
        if found is None:
            raise PermissionError(
                "there are no S3 keys: neither AWS_ACCESS_KEY_ID is set nor does AWS_SHARED_CREDENTIALS_FILE "
                "(default ~/.aws/credentials) name any; ask the facility's operator for a credentials file"
            )
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + KEYS_AGE,
        }

    return keys


async def read(
    bucket: str,
    key: str,
    access: S3Access,
    start: int | None = None,
    end: int | None = None,
    unchanged: Unchanged | None = None,
) -> ObjectBytes:
    """Read an object, or a range of it.

    Args:
        bucket: the bucket's name.
        key: the object's key.
        access: how to reach S3.
        start: the first byte; a negative one counts from the end.
        end: the byte behind the last one.
        unchanged: what tells the object that is meant from one that was written in its place.

    Raises:
        FileNotFoundError: there is no such bucket or object.
        PermissionError: the keys are missing, wrong, or not allowed to read it.
        OSError: the object is another by now, the range lies behind its end ("not satisfiable"), or S3 cannot be
            reached.
    """
    options: GetOptions = {}
    if start or end is not None:
        options["range"] = _range(start, end)
    if unchanged is not None and unchanged.etag:
        options["if_match"] = unchanged.etag
    if unchanged is not None and unchanged.since:
        options["if_unmodified_since"] = datetime.fromtimestamp(unchanged.since, UTC)
    try:
        answer = await store(bucket, access).get_async(key, options=options)
        # A body that breaks off is asked for again below, from where it broke off and only if it is the same object.
        data = await answer.bytes_async()
    except (BaseError, OSError) as error:
        raise plain(error, bucket, key) from error
    served_by = answer.attributes.get(SERVED_BY_METADATA, "")
    return ObjectBytes(data.to_bytes(), answer.range[0], served_by, answer.meta["size"], answer.meta["e_tag"] or "")


def _range(start: int | None, end: int | None) -> Any:
    if end is not None:
        return (start or 0, end)
    return {"suffix": -start} if start and start < 0 else {"offset": start}


async def write(bucket: str, key: str, data: Any, access: S3Access, part_bytes: int) -> None:
    """Store bytes. Returns once S3 has acknowledged all of them: a reader sees the old object or the new one.

    Up to ``part_bytes`` they are one PUT, and so one RADOS object in one place; above, one part for each of them.
    The request is signed over its content, so that a gateway refuses what was damaged on the way.

    Args:
        bucket: the bucket's name.
        key: the object's key.
        data: bytes-like, or an iterator of such pieces, which always goes in parts.
        access: how to reach S3.
        part_bytes: size of a part, see ``placement_access.part_bytes``.

    Raises:
        FileNotFoundError: there is no such bucket.
        PermissionError: the keys are missing, wrong, or not allowed to write it.
        OSError: S3 cannot be reached, or refuses; EDQUOT where the researcher keeps as much as they may.
    """
    try:
        await store(bucket, access).put_async(
            key,
            data,
            use_multipart=not hasattr(data, "__len__") or len(data) > part_bytes,
            chunk_size=part_bytes,
            max_concurrency=PARTS_AT_ONCE,
        )
    except (BaseError, OSError) as error:
        raise plain(error, bucket, key) from error


def changed(bucket: str, key: str) -> OSError:
    """Return the error of an object that is another than the one that was meant."""
    return OSError(
        f"{S3Address(bucket, key)} was changed after the dataset that refers to it was made: make the dataset anew, "
        "and use that"
    )


def plain(error: Exception, bucket: str, key: str) -> Exception:
    """Return obstore's error as one of Python's own that names the object. Of obstore's text the first line tells."""
    name = str(S3Address(bucket, key))
    text = str(error).partition("\n\n")[0]
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(
            f"{name} is not there" + (": there is no such bucket" if "NoSuchBucket" in text else "")
        )
    if "QuotaExceeded" in str(error):
        return OSError(
            errno.EDQUOT,
            "it was not written, since you keep as many bytes or objects in S3 as you may. `appliance quota` in a "
            "terminal shows both; delete what you do not need, or ask your operators for more",
            name,
        )
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
        return PermissionError(f"{name}: {text}")
    if isinstance(error, PreconditionError):
        return changed(bucket, key)
    if "416" in text and "not satisfiable" in text.lower():
        return OSError(f"{name}: the range is not satisfiable: it lies behind the object's end")
    return OSError(f"{name}: {text}")
