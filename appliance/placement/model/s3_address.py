"""Addresses on S3, ``s3://bucket/key``: taken apart and put together here alone."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.placement.errors import PlacementError


class AddressError(PlacementError, ValueError):
    """A text is no address on S3; the message names it, and how addresses are written."""


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket, an object or a prefix on S3. ``str`` of it is the address, in which nothing is escaped.

    Attributes:
        bucket: the bucket's name.
        key: the object's key, or a prefix of keys; empty for the bucket itself.
    """

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"

    @classmethod
    def parse(cls, url: str) -> S3Address:
        """Take an address apart.

        Raises:
            AddressError: the text is no address on S3.
        """
        scheme, separator, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme != "s3" or not separator or not bucket:
            raise AddressError(f"{url!r} is no address on S3: write s3://BUCKET or s3://BUCKET/NAME")
        return cls(bucket, key)

    @classmethod
    def find(cls, url: str) -> S3Address | None:
        """Take a text apart that may be an address on S3, or anything else: None for that."""
        try:
            return cls.parse(url)
        except AddressError:
            return None
