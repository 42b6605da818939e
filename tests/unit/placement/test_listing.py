"""The objects under a prefix."""

import pytest

from appliance.placement.client.listing import ListingError, list_objects


def test_listing_needs_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    with pytest.raises(ListingError, match="AWS_ENDPOINT_URL is not set"):
        next(list_objects("b", ""))
