"""RGW's manifest: the object's attribute ``user.rgw.manifest``, as bytes, read into a layout.

The form is that of ``RGWObjManifest::encode`` in Ceph's ``src/rgw/driver/rados/rgw_obj_manifest.h`` and of what it
holds: ``rgw_obj`` (``rgw_obj_types.h``), ``rgw_bucket`` (``rgw_bucket_types.h``), ``rgw_pool``, ``rgw_placement_rule``.
Ceph's encoding is little-endian; each structure begins with its version, the oldest version that can read it (a byte
each) and its length, so that what later versions add at the end can be skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from appliance.placement.errors import MapError
from appliance.placement.model.object_layout import Layout, Piece, Rule
from appliance.placement.model.rados_names import locator, rados_name

NEWEST = 8  # the manifest's version that this program knows (Ceph 16 to 20)
OLDEST = 7  # the first that says which pools (Ceph 14); objects older than that are left unknown
MAX_ITEMS = 1_000_000

PoolOf = Callable[[str, str], int | None]
"""From a placement rule (``name/CLASS``) and an explicit pool's name (mostly empty) to a pool's number, or None."""


class _Cursor:
    """A cursor over encoded bytes. Every read past the end raises ``MapError``."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise MapError(f"the manifest ends at byte {len(self.data)}, in the middle of a value")
        self.at += count
        return piece

    def number(self, form: str) -> int:
        value: int = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]
        return value

    def text(self) -> str:
        try:
            return self.take(self.number("I")).decode()
        except UnicodeDecodeError as error:
            raise MapError(f"the manifest holds a name that is no UTF-8 ({error})") from error

    def count(self) -> int:
        count = self.number("I")
        if count > MAX_ITEMS:
            raise MapError(f"the manifest speaks of {count} items")
        return count

    def structure(self, what: str, oldest: int, newest: int) -> tuple[int, _Cursor]:
        """Return a structure's version and a reader of its body, and step over it."""
        version, compatible = self.number("B"), self.number("B")
        body = _Cursor(self.take(self.number("I")))
        if version < oldest or compatible > newest:
            raise MapError(
                f"{what} is of version {version} ({compatible} at least), and {oldest} to {newest} are known"
            )
        return version, body


@dataclass(frozen=True)
class _Bucket:
    marker: str
    data_pool: str


@dataclass(frozen=True)
class _Object:
    bucket: _Bucket
    namespace: str
    key: str
    version: str


def _bucket(source: _Cursor) -> _Bucket:
    _, body = source.structure("rgw_bucket", 10, 10)
    body.text()  # the bucket's name
    marker = body.text()
    body.text()  # its id, which is another where it was resharded
    body.text()  # its tenant
    pool = ""
    if body.number("B"):
        _, first = body.structure("rgw_pool", 10, 10)
        pool, namespace = first.text(), first.text()
        if namespace:
            raise MapError(f"the object lies in namespace {namespace!r} of pool {pool!r}, which is not known here")
    return _Bucket(marker, pool)


def _object(source: _Cursor) -> _Object:
    _, body = source.structure("rgw_obj", 6, 7)
    bucket = _bucket(body)
    namespace, key, version = body.text(), body.text(), body.text()
    return _Object(bucket, namespace, key, version)


def _explicit(source: _Cursor) -> dict[int, tuple[_Object, int, int]]:
    parts = {}
    for _ in range(source.count()):
        offset = source.number("Q")
        _, body = source.structure("RGWObjManifestPart", 2, 2)
        parts[offset] = (_object(body), body.number("Q"), body.number("Q"))
    return parts


def _rules(source: _Cursor) -> tuple[Rule, ...]:
    rules = []
    for _ in range(source.count()):
        source.number("Q")  # where it begins to count; the same as `start` but for the first rule's 0
        version, body = source.structure("RGWObjManifestRule", 1, 2)
        part, start, part_bytes, stripe_bytes = (body.number(form) for form in "IQQQ")
        rules.append(Rule(part, start, part_bytes, stripe_bytes, body.text() if version >= 2 else ""))
    return tuple(rules)


def decode_manifest(data: bytes, etag: str, head_pool: int, pool_of: PoolOf) -> Layout:
    """Return the layout that a manifest describes.

    ``head_pool`` is the pool that the object's head, and with it the manifest, was found in; ``pool_of`` finds those of
    its tail. Raises ``MapError`` for bytes that are no manifest, that are of a version or kind not known here, that
    contradict themselves, or whose pools nobody knows: of such an object nothing is said.
    """
    _, source = _Cursor(data).structure("RGWObjManifest", OLDEST, NEWEST)
    size = source.number("Q")
    parts = _explicit(source)
    is_explicit = bool(source.number("B"))
    head = _object(source)
    head_bytes, max_head_bytes = source.number("Q"), source.number("Q")
    prefix = source.text()
    rules = _rules(source)
    tail_bucket = _bucket(source) if source.number("B") else head.bucket
    tail_version = source.text() if source.number("B") else head.version
    source.text()  # the head's placement rule; the multipart code leaves it empty
    tail_rule = source.text()
    if source.at < len(source.data) and source.text():
        raise MapError("the object has been moved to another store (cloud tier)")

    def pool(rule: str, bucket: _Bucket) -> int:
        found = pool_of(rule, bucket.data_pool)
        if found is None:
            raise MapError(f"no pool is known for placement rule {rule!r} {bucket.data_pool}".rstrip())
        return found

    def piece(what: _Object, pool: int, offset: int, count: int, within: int) -> Piece:
        names = (what.bucket.marker, what.key, what.version, what.namespace)
        return Piece(offset, count, pool, rados_name(*names), locator(*names), within)

    explicit: list[Piece] = []
    if is_explicit:
        if head_bytes and 0 in parts and not parts[0][0].namespace:
            parts[0] = (head, 0, head_bytes)  # as RGW's own decode corrects it (Ceph's tracker, issue 16435)
        starts = sorted(parts)
        for start, end in zip(starts, [*starts[1:], size], strict=False):
            what, within, _ = parts[start]
            its_pool = head_pool if what == head else pool(tail_rule, what.bucket)
            explicit.append(piece(what, its_pool, start, end - start, within))
    has_tail = size > head_bytes and not is_explicit
    return Layout(
        etag=etag,
        bytes=size,
        head=piece(head, head_pool, 0, head_bytes, 0),
        head_bytes=min(head_bytes, size),
        max_head_bytes=max_head_bytes,
        prefix=prefix,
        marker=tail_bucket.marker,
        version=tail_version,
        pool=pool(tail_rule, tail_bucket) if has_tail else head_pool,
        rules=() if is_explicit else rules,
        explicit=tuple(explicit),
    )
