"""Addresses on S3: taken apart, put together, and refused."""

from __future__ import annotations

import pytest

from appliance.placement import PlacementError
from appliance.placement.model.s3_address import AddressError, S3Address


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [("s3://b", "b", ""), ("s3://b/", "b", ""), ("s3://b/x/y z%20/", "b", "x/y z%20/"), ("s3://b//x", "b", "/x")],
)
def test_an_address_is_a_bucket_and_a_key(url: str, bucket: str, key: str) -> None:
    address = S3Address.parse(url)
    assert (address.bucket, address.key) == (bucket, key)
    assert str(address) == (url if key else f"s3://{bucket}")
    assert S3Address.find(url) == address


@pytest.mark.parametrize("url", ["", "b/x", "s3:/b/x", "s3:///x", "S3://b", "https://b/x", "/s3://b/x"])
def test_anything_else_is_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(AddressError, match="is no address on S3: write s3://BUCKET"):
        S3Address.parse(url)
    assert S3Address.find(url) is None
    assert issubclass(AddressError, PlacementError)
    assert issubclass(AddressError, ValueError)
