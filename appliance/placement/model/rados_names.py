"""What RGW calls an S3 object in RADOS.

The rules are those of ``rgw_obj_key::get_oid`` and ``get_loc`` in Ceph's ``src/rgw/rgw_obj_types.h`` and of
``get_obj_bucket_and_oid_loc`` in its ``rgw_rados.h``.
"""

from __future__ import annotations

NULL_VERSION = "null"  # the version of objects that were written while their bucket kept no versions


def rados_name(marker: str, key: str, version: str = "", namespace: str = "") -> str:
    """Return the RADOS name of an S3 object: of the whole object, or of its head if it is larger than a chunk.

    ``version`` is the S3 version id, empty or ``null`` for an object without. ``namespace`` is empty for what S3 shows,
    ``multipart`` and ``shadow`` for parts and stripes, whose "keys" RGW makes up.

    An underscore at the beginning of a key is doubled, since ``_shadow_…`` and ``_multipart_…`` are RGW's own.
    """
    instance = "" if version == NULL_VERSION else version
    if namespace or instance:
        return f"{marker}__{namespace}{':' if instance else ''}{instance}_{key}"
    return f"{marker}_{'_' if key.startswith('_') else ''}{key}"


def locator(marker: str, key: str, version: str = "", namespace: str = "") -> str:
    """Return the text whose hash places the object.

    It differs from the name where the key begins with an underscore: RGW writes those with the undoubled name as
    RADOS locator ("for backward compatibility", it says), and a locator takes the name's place in the hash. So for
    every key without a version it is simply ``<marker>_<key>``, and `ceph osd map` must be asked with this one. All
    versions of a key with an underscore share one locator, and so one place.
    """
    if key.startswith("_") and not namespace:
        return f"{marker}_{key}"
    return rados_name(marker, key, version, namespace)


def in_parts(size: int, etag: str | None, chunk_bytes: int) -> bool:
    """Return whether an S3 object lies in several RADOS objects, so that its name does not tell where all of it is.

    It does if it is larger than one, or if it was uploaded in parts: then its etag ends in a dash and their number.
    All other etags are an MD5.

    Args:
        size: bytes of the object.
        etag: the object's etag; empty or None where nobody has asked S3.
        chunk_bytes: size of a RADOS object, ``PlacementMap.chunk_bytes``.
    """
    return size > chunk_bytes or "-" in (etag or "")
