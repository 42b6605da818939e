"""The objects under an S3 prefix, a page at a time, with the endpoint and keys of the process's environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.placement.errors import PlacementError
from appliance.placement.site import credentials_of, setting


class ListingError(PlacementError):
    """The bucket cannot be listed; the message says which setting to mend."""


@dataclass(frozen=True)
class Listed:
    """An object of a listing. ``in_parts``: it was uploaded in parts, which lie in RADOS objects of their own."""

    key: str
    bytes: int
    in_parts: bool


def parse_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``, or raise ``ListingError``."""
    scheme, separator, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        raise ListingError(f"{url!r} is no address of objects: write s3://BUCKET or s3://BUCKET/PREFIX")
    return bucket, prefix


def list_objects(bucket: str, prefix: str) -> Iterator[list[Listed]]:
    """Yield the objects whose keys begin with ``prefix``, in the order of their keys, up to 1,000 at a time.

    Endpoint and keys are those of the environment (``AWS_ENDPOINT_URL``, ``AWS_SHARED_CREDENTIALS_FILE`` and the
    other variables that all S3 clients know); an operator on a machine of the facility, who has none, gets the
    machine's own endpoint and the keys of the researcher whose bucket it is. Raises ``ListingError``.
    """
    import botocore.config  # type: ignore[import-untyped,unused-ignore]  # half a second that --keys-from need not pay
    import botocore.exceptions  # type: ignore[import-untyped,unused-ignore]
    import botocore.session  # type: ignore[import-untyped,unused-ignore]

    endpoint = setting("AWS_ENDPOINT_URL_S3") or setting("AWS_ENDPOINT_URL")
    if not endpoint:
        raise ListingError("AWS_ENDPOINT_URL is not set: on the facility's machines it is http://127.0.0.1:7481")
    settings = botocore.config.Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"total_max_attempts": 2, "mode": "standard"},
        s3={"addressing_style": "path"},
    )
    session = botocore.session.get_session()
    region = session.get_config_variable("region") or "us-east-1"  # RGW takes any, the signature needs one
    own_keys = credentials_of(bucket)
    if own_keys and not any(os.environ.get(name) for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_ACCESS_KEY_ID")):
        session.set_config_variable("credentials_file", str(own_keys))
    try:
        client = session.create_client("s3", region_name=region, endpoint_url=endpoint, config=settings)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield [_listed(entry) for entry in page.get("Contents", [])]
    except botocore.exceptions.ClientError as error:
        raise ListingError(_refusal(bucket, error.response.get("Error", {}))) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise ListingError(
            "there are no S3 keys: set AWS_SHARED_CREDENTIALS_FILE to a file of them (for the user alice on the "
            "facility's machines /etc/appliance/s3/alice), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise ListingError(f"AWS_ENDPOINT_URL={endpoint}: {error}") from error


def _listed(entry: dict[str, Any]) -> Listed:
    # The ETag of an object uploaded in parts ends in a dash and their number; all other ETags are an MD5.
    return Listed(entry["Key"], entry["Size"], "-" in entry.get("ETag", ""))


def _refusal(bucket: str, error: dict[str, str]) -> str:
    code = error.get("Code", "")
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}"
    if code in ("AccessDenied", "403"):
        return f"the keys in AWS_SHARED_CREDENTIALS_FILE may not list bucket {bucket!r}: use those of its owner"
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return f"the gateway does not know these S3 keys ({code}): see AWS_SHARED_CREDENTIALS_FILE, AWS_ACCESS_KEY_ID"
    return f"listing bucket {bucket!r}: {code} {error.get('Message', '')}".strip()
