"""The objects in which a bucket's items are kept: read, and changed by several processes at once without a loss."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from appliance.compute.reading import objects
from appliance.data import DataError
from appliance.data.cataloguing import believed

TRIES = 50  # changes by others that one change gives way to


def read(bucket: str, key: str, most: int | None = None) -> bytes | None:
    """An object's bytes. Raises ``OSError``.

    None where there is none, it is not for this reader, or it has more than ``most`` bytes: then they are not fetched.
    """
    try:
        return _read(bucket, key, most)[0]
    except PermissionError:
        return None


def _read(bucket: str, key: str, most: int | None = None) -> tuple[bytes | None, str | None]:
    try:
        got = obstore.get(objects.store(bucket, objects.own_access()), key)
        if most is not None and got.meta["size"] > most:
            return None, None
        return bytes(got.bytes()), got.meta["e_tag"]
    except (BaseError, OSError) as error:
        told = objects.plain(error, bucket, key)
        if isinstance(told, FileNotFoundError):
            return None, None
        raise told from error


def write(bucket: str, key: str, data: bytes, media: str) -> None:
    """Write an object in one go. Raises ``OSError``."""
    try:
        obstore.put(objects.store(bucket, objects.own_access()), key, data, attributes={"Content-Type": media})
    except (BaseError, OSError) as error:
        raise objects.plain(error, bucket, key) from error


def delete(bucket: str, key: str) -> None:
    """Delete an object, which need not be there. Raises ``OSError``."""
    try:
        obstore.delete(objects.store(bucket, objects.own_access()), key)
    except (BaseError, OSError) as error:
        told = objects.plain(error, bucket, key)
        if not isinstance(told, FileNotFoundError):
            raise told from error


def change(bucket: str, key: str, changed: Callable[[dict[str, Any]], None]) -> None:
    """Change the items that an object keeps, by their addresses.

    S3 takes the new ones only where nobody else has written meanwhile. Otherwise they are read and changed again.

    Raises:
        DataError: others write without end, or what is there is no collection of items.
        OSError: S3 cannot be reached, or refuses.
    """
    client = objects.store(bucket, objects.own_access())
    for _ in range(TRIES):
        try:
            present, etag = _read(bucket, key)
        except PermissionError as error:
            raise _anothers(bucket) from error
        items, others = _taken_apart(bucket, key, present)
        before = dict(items)
        changed(items)
        if items == before:
            return
        data = believed.document([*(items[address] for address in sorted(items)), *others])
        try:
            obstore.put(
                client,
                key,
                data,
                mode={"e_tag": etag} if etag else "create",
                attributes={"Content-Type": "application/geo+json"},
                use_multipart=False,
            )
            return
        except (PreconditionError, AlreadyExistsError):
            continue
        except (BaseError, OSError) as error:
            if _is_conflict(error):
                continue
            told = objects.plain(error, bucket, key)
            if isinstance(told, PermissionError):
                raise _anothers(bucket) from error
            raise told from error
    raise DataError(f"s3://{bucket}/{key}: others wrote it {TRIES} times meanwhile: try again")


def _anothers(bucket: str) -> PermissionError:
    return PermissionError(errno.EACCES, "S3 refuses: the bucket is another's", f"s3://{bucket}")


def _taken_apart(bucket: str, key: str, present: bytes | None) -> tuple[dict[str, Any], list[Any]]:
    """The items by their addresses, and what else is listed there, which stays: a later version may have written it."""
    try:
        listed = believed.listed_in(present) if present is not None else []
    except ValueError as error:
        way_out = f"delete it, and record the bucket's datasets anew; {error}"
        raise DataError(f"s3://{bucket}/{key}: is no collection of items: {way_out}") from error
    items, others = {}, []
    for one in listed:
        if (feature := believed.feature_of(one, bucket)) is None:
            others.append(one)
        else:
            items[believed.address_of(feature)] = feature
    return items, others


def _is_conflict(error: Exception) -> bool:
    """Whether two writers met in the gateway itself (HTTP 409)."""
    return "ConcurrentModification" in str(error) or "409 Conflict" in str(error)
