"""What everybody may read, of all buckets: ``python -m appliance.data.cataloguing.collector``, of role `catalogue`.

It reads the buckets' lists as somebody without keys, so that it can tell nothing that is not everybody's. Which buckets
there are, and whose each is, the S3 gateway says. What it finds goes to a bucket of its own, as STAC and as a page.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import sys
import urllib.parse
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.data.cataloguing import believed
from appliance.data.cataloguing.page import page
from appliance.data.cataloguing.static import ROOT, static_catalog
from appliance.data.facility_client import facility_client
from appliance.placement.auth.sigv4 import Keys, signed_headers
from appliance.placement.model.s3_address import S3Address

SECONDS = 10.0  # for one answer
AT_ONCE = 8
# What one owner may say, so that nobody makes the catalogue too large for all others.
OWNER_BYTES = 2 * 2**20  # of all their lists as they wrote them, and of what is made of these
OWNER_ITEMS = 1000  # a short item becomes one many times as long
ADMIN_BYTES = 64 * 2**20


class CollectorError(RuntimeError):
    """The S3 gateway does not say what is needed; the message has its words."""


@dataclass(frozen=True)
class Gateway:
    """The S3 gateway, and the keys of an S3 user who may read buckets' records.

    ``place`` is its host and port.
    """

    place: str
    keys: Keys

    def _ask(self, target: str, headers: dict[str, str], most: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.place, timeout=SECONDS)
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(most + 1)
        finally:
            connection.close()

    def admin(self, **parameters: str) -> Any:
        """What the admin API says of buckets; None where there is none. Raises ``CollectorError`` or ``OSError``."""
        target = f"/admin/bucket?{urllib.parse.urlencode(sorted({**parameters, 'format': 'json'}.items()))}"
        headers = signed_headers(self.keys, "GET", self.place, target, datetime.now(UTC))
        status, body = self._ask(target, headers, ADMIN_BYTES)
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status != http.HTTPStatus.OK:
            raise CollectorError(f"GET {target}: {status}: {body[:200].decode(errors='replace')}")
        return json.loads(body)

    def published(self, bucket: str) -> bytes | None:
        """A bucket's list, as somebody without keys reads it; None where there is none, or it is too long."""
        status, body = self._ask(f"/{urllib.parse.quote(bucket)}/{believed.PUBLISHED}", {}, OWNER_BYTES)
        return body if status == http.HTTPStatus.OK and len(body) <= OWNER_BYTES else None


def collect(gateway: Gateway) -> list[dict[str, Any]]:
    """The items that everybody may read, each with the owner of its bucket, in the order of their addresses.

    Raises ``CollectorError`` or ``OSError``; then nothing is known, and what was collected before stays.
    """
    # Names that no item can have are not asked for: a request for them might fail, and nothing would be collected.
    names = [name for name in sorted(map(str, gateway.admin() or [])) if believed.is_bucket(name)]
    told: dict[str, _Told] = defaultdict(_Told)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for first in range(0, len(names), AT_ONCE):  # no more lists than these are in memory
            some = names[first : first + AT_ONCE]
            for bucket, listed in zip(some, threads.map(gateway.published, some), strict=True):
                if listed and (record := gateway.admin(bucket=bucket)):
                    told[str(record["owner"])].add(bucket, listed, str(record["owner"]))
    for owner, of_owner in sorted(told.items()):
        if of_owner.left_out:
            where = ", ".join(f"s3://{bucket}" for bucket in of_owner.left_out[:5])
            most = f"{OWNER_ITEMS} datasets or {OWNER_BYTES:,} bytes"
            print(f"{owner}: publishes more than {most}: not all of {where} is listed", file=sys.stderr)
    return sorted((one for of_owner in told.values() for one in of_owner.items), key=believed.address_of)


class _Told:
    """What one owner's buckets list, up to the most that one owner may say."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self._said = self._made = 0

    def add(self, bucket: str, listed: bytes, owner: str) -> None:
        self._said += len(listed)
        if self._said > OWNER_BYTES:
            self.left_out.append(bucket)
            return
        for one in believed.features(listed, bucket):
            one["properties"][believed.OWNER] = owner
            self._made += len(believed.document([one]))
            if self._made > OWNER_BYTES or len(self.items) >= OWNER_ITEMS:
                self.left_out.append(bucket)
                return
            self.items.append(one)


def objects(features: list[dict[str, Any]], bucket: str, public_url: str) -> Iterator[tuple[str, str, bytes]]:
    """What is written: name, media type and content."""
    yield "catalogue.json", "application/geo+json", believed.document(features)
    if public_url:
        listed_at = f"{public_url}/{bucket}/{ROOT}"
        shown = page(features, _pictures(features), public_url, listed_at)
        yield "index.html", "text/html; charset=utf-8", shown.encode()
        yield from static_catalog(features, public_url)


def _pictures(features: list[dict[str, Any]]) -> dict[str, str]:
    found = {}
    for one in features:
        if believed.PREVIEW in one["assets"]:
            address = S3Address.parse(one["assets"][believed.PREVIEW]["href"])
            found[believed.address_of(one)] = urllib.parse.quote(f"/{address.bucket}/{address.key}")
    return found


def write(endpoint: str, keys: Keys, bucket: str, written: Iterator[tuple[str, str, bytes]]) -> list[str]:
    """Write what has changed, for everybody to read, and delete all else that is there.

    Returns the names of both. Raises botocore's errors.
    """
    client = facility_client(endpoint, keys)
    changed = []
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        there = {one["Key"]: one["ETag"].strip('"') for listed in pages for one in listed.get("Contents", [])}
        for name, media, content in written:
            # The etag of what was put in one go (S3 API, "Object").
            if there.pop(name, "") == hashlib.md5(content, usedforsecurity=False).hexdigest():
                continue
            # A browser or a proxy on the way keeps none: what is withdrawn is gone.
            client.put_object(
                Bucket=bucket, Key=name, Body=content, ContentType=media, CacheControl="no-store", ACL="public-read"
            )
            changed.append(name)
        for name in there:
            client.delete_object(Bucket=bucket, Key=name)
            changed.append(name)
    finally:
        client.close()
    return changed


def main() -> int:
    """Collect once."""
    parser = argparse.ArgumentParser(description="Collect the published datasets of all buckets.")
    parser.add_argument("--endpoint", required=True, help="the S3 gateway, http://HOST:PORT")
    parser.add_argument("--credentials", type=Path, required=True, help="the file of the S3 keys")
    parser.add_argument("--bucket", required=True, help="where what is found is written")
    parser.add_argument("--public-url", default="", help="where everybody reads what is published, https://NAME")
    given = parser.parse_args()
    keys = Keys.from_file(given.credentials)
    features = collect(Gateway(urllib.parse.urlsplit(given.endpoint).netloc, keys))
    if changed := write(given.endpoint, keys, given.bucket, objects(features, given.bucket, given.public_url)):
        print(f"{len(features)} published datasets; changed: {', '.join(changed[:5])}{' …' if changed[5:] else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
