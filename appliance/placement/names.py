"""What RGW calls an S3 object in RADOS.

The rules are those of ``rgw_obj_key::get_oid`` and ``get_loc`` in Ceph's ``src/rgw/rgw_obj_types.h`` and of
``get_obj_bucket_and_oid_loc`` in its ``rgw_rados.h``, for objects of an empty namespace and without a version.
"""

from __future__ import annotations


def rados_name(marker: str, key: str) -> str:
    """Return the RADOS name of an S3 object: of the whole object, or of its head if it is larger than a chunk.

    An underscore at the beginning of a key is doubled, since ``_shadow_…`` and ``_multipart_…`` are RGW's own.
    """
    return f"{marker}_{'_' if key.startswith('_') else ''}{key}"


def locator(marker: str, key: str) -> str:
    """Return the text whose hash places the object.

    It differs from the name where the key begins with an underscore: RGW writes those with the undoubled name as
    RADOS locator ("for backward compatibility", it says), and a locator takes the name's place in the hash. So for
    every key it is simply ``<marker>_<key>``, and `ceph osd map` must be asked with this one.
    """
    return f"{marker}_{key}"
