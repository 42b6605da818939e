"""Signatures as AWS documents them, and files of keys."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.placement.auth.sigv4 import Keys, signed_headers
from appliance.placement.errors import ClusterError


def test_a_request_is_signed_as_amazon_documents() -> None:
    # The GET example in the S3 API reference's chapter on signature version 4, listing a bucket's lifecycle: its
    # secret, date, host and query, and the signature that the chapter arrives at.
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    now = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed_headers(keys, "GET", "examplebucket.s3.amazonaws.com", "/?lifecycle=", now)
    assert headers["authorization"].endswith(
        "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )


@pytest.mark.parametrize("text", ["", "[default]\naws_access_key_id = x\n", "no credentials", "[other]\n"])
def test_keys_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "s3").write_text(text)
    with pytest.raises(ClusterError, match="s3 is no AWS credentials file"):
        Keys.from_file(tmp_path / "s3")
