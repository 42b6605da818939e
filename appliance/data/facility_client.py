"""S3 as the facility's own jobs use it, in an environment that has botocore and none of the notebooks' libraries."""

from __future__ import annotations

from typing import Any

from appliance.placement.auth.sigv4 import Keys


def facility_client(endpoint: str, keys: Keys) -> Any:
    """Make botocore's client of the S3 gateway; who asked for it closes it."""
    from botocore.config import Config
    from botocore.session import Session

    return Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=keys.access,
        aws_secret_access_key=keys.secret,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "max_attempts": 3},
        ),
    )
