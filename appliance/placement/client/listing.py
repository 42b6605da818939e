"""The objects under an S3 prefix, a page at a time, with the endpoint and keys of the process's environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.placement.auth.machine_settings import SETTINGS, credentials_of, setting
from appliance.placement.errors import PlacementError
from appliance.placement.model.placement_map import STANDARD


class ListingError(PlacementError):
    """The bucket cannot be listed; the message says which setting to mend."""


@dataclass(frozen=True)
class S3Object:
    """What S3 says of an object: enough to know whether its name tells where it lies, and to ask where if not.

    ``version`` is empty where the bucket keeps none. ``modified`` tells two uploads of the same content apart, which
    have the same etag and lie in different places. All but key and bytes are empty where nobody asked S3.
    """

    key: str
    bytes: int
    etag: str = ""
    version: str = ""
    storage_class: str = STANDARD
    modified: str = ""


def list_objects(bucket: str, prefix: str, versions: bool = False) -> Iterator[list[S3Object]]:
    """Yield the objects whose keys begin with ``prefix``, in the order of their keys, up to 1,000 at a time.

    With ``versions`` the latest versions are listed, with their ids, which a plain listing does not tell.

    Endpoint and keys are those of the environment (``AWS_ENDPOINT_URL``, ``AWS_SHARED_CREDENTIALS_FILE`` and the
    other variables that all S3 clients know); an operator on a machine of the facility, who has none, gets the
    machine's own endpoint and the keys of the researcher whose bucket it is. Raises ``ListingError``.
    """
    import botocore.config  # type: ignore[import-untyped,unused-ignore]  # half a second that --keys-from need not pay
    import botocore.exceptions  # type: ignore[import-untyped,unused-ignore]
    import botocore.session  # type: ignore[import-untyped,unused-ignore]

    endpoint = setting("AWS_ENDPOINT_URL_S3") or setting("AWS_ENDPOINT_URL")
    if not endpoint:
        raise ListingError(f"AWS_ENDPOINT_URL is not set: on the facility's machines it stands in {SETTINGS}")
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
        listing = client.get_paginator("list_object_versions" if versions else "list_objects_v2")
        for page in listing.paginate(Bucket=bucket, Prefix=prefix):
            entries = page.get("Versions" if versions else "Contents", [])
            yield [_listed(entry) for entry in entries if entry.get("IsLatest", True)]
    except botocore.exceptions.ClientError as error:
        raise ListingError(_refusal(bucket, error.response.get("Error", {}))) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise ListingError(
            "there are no S3 keys: set AWS_SHARED_CREDENTIALS_FILE to a file of them (on the facility's machines "
            f"{SETTINGS} names the directory of all), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise ListingError(f"AWS_ENDPOINT_URL={endpoint}: {error}") from error


def _listed(entry: dict[str, Any]) -> S3Object:
    return S3Object(
        key=entry["Key"],
        bytes=entry["Size"],
        etag=entry.get("ETag", "").strip('"'),
        version=entry.get("VersionId", ""),
        storage_class=entry.get("StorageClass", STANDARD),
        modified=str(entry.get("LastModified", "")),
    )


def _refusal(bucket: str, error: dict[str, str]) -> str:
    code = error.get("Code", "")
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}"
    if code in ("AccessDenied", "403"):
        return f"the keys in AWS_SHARED_CREDENTIALS_FILE may not list bucket {bucket!r}: use those of its owner"
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return f"the gateway does not know these S3 keys ({code}): see AWS_SHARED_CREDENTIALS_FILE, AWS_ACCESS_KEY_ID"
    return f"listing bucket {bucket!r}: {code} {error.get('Message', '')}".strip()
