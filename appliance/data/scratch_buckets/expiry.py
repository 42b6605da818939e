"""Removes what has expired: ``python -m appliance.data.scratch_buckets.expiry``, of role `scratch`.

It has an S3 user of its own, whom the policy of a scratch bucket lets list and delete. A bucket that another than its
namesake owns, such as an heir, is left alone; so is one of somebody who is locked, which the S3 gateway closes.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.compute.reading.scratch import METADATA, SUFFIX
from appliance.data.cataloguing.collector import CollectorError, Gateway
from appliance.data.facility_client import facility_client
from appliance.data.scratch_buckets.rule import DAY, NOTHING, NOTICES, Notice, Thing, Written, things
from appliance.placement.auth.sigv4 import Keys

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

PAGE = 1000  # keys of one list, and of one request to delete (S3's limits)
REFUSED = ("AccessDenied", "NoSuchBucket", "UserSuspended", "403", "404")


class ExpiryError(RuntimeError):
    """Something of one bucket could not be done; the message says what."""


@dataclass(frozen=True)
class Expiry:
    """One look at the scratch buckets.

    Attributes:
        client: botocore's, with the job's own keys.
        own_bucket: where the notices are.
        days: after which things go.
        now: s since 1970.
    """

    client: Any
    own_bucket: str
    days: int
    now: float

    def bucket(self, bucket: str, owner: str) -> list[Thing]:
        """Remove what is due, and tell the owner what will be; return what was removed.

        Raises:
            ExpiryError: the bucket is closed to the job, or some of it could not be removed; the rest was.
            botocore's errors: S3 does not answer.
        """
        from botocore.exceptions import ClientError

        try:
            notice = self._noted(bucket).next(things(self._objects(bucket)), self.days, self.now)
        except ClientError as error:
            if _code(error) not in REFUSED:
                raise
            # Who is shut out reads no notice: when the bucket is open again, the week begins anew.
            self.client.delete_object(Bucket=self.own_bucket, Key=_notice_key(bucket))
            raise ExpiryError(f"s3://{bucket} is closed to this job, and nothing of it goes: {error}") from error
        gone, failed = [], []
        for thing in notice.due(self.now):
            try:
                if self._remove(bucket, thing):
                    gone.append(thing)
            except (ExpiryError, ClientError) as error:
                failed.append(f"s3://{bucket}/{thing.name}: {error}")
        self.client.put_object(
            Bucket=self.own_bucket,
            Key=_notice_key(bucket),
            Body=notice.without(gone).document(),
            ContentType="application/json",
            GrantRead=f'id="{owner}"',
            GrantFullControl=f'id="{self.own_bucket}"',  # named after the S3 user; grants leave out who gives them
        )
        try:
            self._abort_uploads(bucket)
        except ClientError as error:
            failed.append(f"s3://{bucket}: its uploads: {error}")
        if failed:
            raise ExpiryError("; ".join(failed))
        return gone

    def _noted(self, bucket: str) -> Notice:
        from botocore.exceptions import ClientError

        try:
            answer = self.client.get_object(Bucket=self.own_bucket, Key=_notice_key(bucket))
            with answer["Body"] as body:
                return Notice.read(body.read())
        except ClientError as error:
            if _code(error) != "NoSuchKey":
                raise
        except ValueError as error:
            print(f"{bucket}: its notice is made anew: {error}", file=sys.stderr)
        return NOTHING

    def _objects(self, bucket: str, prefix: str = "") -> Iterator[Written]:
        return (one for page in self._pages(bucket, prefix) for one in page)

    def _pages(self, bucket: str, prefix: str) -> Iterator[list[Written]]:
        listed = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
        )
        for page in listed:
            contents = page.get("Contents", [])
            yield [Written(one["Key"], one["Size"], one["LastModified"].timestamp()) for one in contents]

    def _remove(self, bucket: str, thing: Thing) -> bool:
        """Remove a thing as a whole; False where it was written to meanwhile: then it stays, or what is new of it does.

        What makes a dataset of the chunks goes first, so that nobody opens one that has lost some of them.
        """
        first = []
        for page in self._listed_of(bucket, thing):
            if any(one.at > thing.newest for one in page):
                return False
            first += [one.key for one in page if is_first(one.key)]
        # The root's first: it holds all metadata where that is consolidated.
        first.sort(key=lambda key: (key.count("/"), key))
        for start in range(0, len(first), PAGE):
            self._delete(bucket, first[start : start + PAGE])
        # Each list is followed by its deletion: what somebody writes in these places meanwhile is seen.
        for page in self._listed_of(bucket, thing):
            if any(one.at > thing.newest for one in page):
                return False
            self._delete(bucket, [one.key for one in page])
        return True

    def _listed_of(self, bucket: str, thing: Thing) -> Iterator[list[Written]]:
        """The objects of a thing, page by page: of an object itself, and not of those whose names begin likewise."""
        for page in self._pages(bucket, thing.name):
            own = [one for one in page if thing.name.endswith("/") or one.key == thing.name]
            if own:
                yield own
            if not thing.name.endswith("/"):
                return

    def _delete(self, bucket: str, keys: list[str]) -> None:
        if not keys:
            return
        asked = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        answer = self.client.delete_objects(Bucket=bucket, Delete=asked)
        if errors := answer.get("Errors", []):
            first = errors[0]
            raise ExpiryError(f"{len(errors)} objects stay: {first['Key']}: {first['Code']} {first.get('Message', '')}")

    def _abort_uploads(self, bucket: str) -> None:
        """Remove the parts of uploads that nobody has ended: nobody sees them, and they count towards the quota."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
        for one in [one for page in pages for one in page.get("Uploads", [])]:
            if one["Initiated"].timestamp() + self.days * DAY <= self.now:
                self.client.abort_multipart_upload(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])


def is_first(key: str) -> bool:
    """Whether an object makes a dataset of others: Zarr's metadata, an Icechunk repository's branches and tags.

    (Of Icechunk's specification: ``refs/`` of version 1, ``repo`` of version 2.) Where it is gone, nothing is opened.
    """
    parts = key.split("/")
    return parts[-1] in METADATA or "refs" in parts[1:-1] or (len(parts) > 1 and parts[-1] == "repo")


def _notice_key(bucket: str) -> str:
    return f"{NOTICES}/{bucket}.json"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))


def buckets(gateway: Gateway, only: str = "") -> Iterator[tuple[str, str]]:
    """The scratch buckets that belong to their namesakes, each with its owner.

    Raises ``CollectorError`` or ``OSError`` where the gateway does not say.
    """
    for name in sorted(map(str, gateway.admin() or [])):
        owner = name.removesuffix(SUFFIX)
        # A bucket of a tenant's has a slash in its name, and is no researcher's.
        if not name.endswith(SUFFIX) or "/" in name or only not in ("", name):
            continue
        record = gateway.admin(bucket=name)
        if record and record["owner"] == owner:
            yield name, owner


def main() -> int:
    """Look once at all of them. What fails in one bucket stops no other; then it returns 1."""
    from botocore.exceptions import BotoCoreError, ClientError

    parser = argparse.ArgumentParser(description="Remove what has expired of the scratch buckets.")
    parser.add_argument("--endpoint", required=True, help="the S3 gateway, http://HOST:PORT")
    parser.add_argument("--credentials", type=Path, required=True, help="the file of the S3 keys")
    parser.add_argument("--bucket", required=True, help="the job's own bucket, where the notices are")
    parser.add_argument("--days", type=int, required=True, help="after which things go")
    parser.add_argument("--only", default="", metavar="BUCKET", help="leave all other scratch buckets alone")
    parser.add_argument("--now", type=float, default=None, help="the time, in seconds since 1970: for tests")
    given = parser.parse_args()
    if given.days < 1:
        parser.error("--days: give at least 1")
    keys = Keys.from_file(given.credentials)
    gateway = Gateway(urllib.parse.urlsplit(given.endpoint).netloc, keys)
    client = facility_client(given.endpoint, keys)
    failed = False
    try:
        for bucket, owner in buckets(gateway, given.only):
            expiry = Expiry(client, given.bucket, given.days, time.time() if given.now is None else given.now)
            try:
                for thing in expiry.bucket(bucket, owner):
                    print(f"s3://{bucket}/{thing.name}: removed, {thing.objects} objects of {thing.nbytes} bytes")
            except (ExpiryError, ClientError, BotoCoreError) as error:
                print(error, file=sys.stderr)
                failed = True
    except (CollectorError, OSError) as error:
        print(error, file=sys.stderr)
        failed = True
    finally:
        client.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
