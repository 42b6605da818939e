"""What a machine of the facility knows about it, for commands typed there without a word of configuration."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.placement.auth.sigv4 import Keys
from appliance.placement.errors import PlacementError, PlacementUnavailable

SETTINGS = Path("/etc/appliance/client.env")  # lines NAME=VALUE, written by role `s3_endpoint`
# The setting that names the directory with an AWS credentials file for each researcher, readable by root.
CREDENTIALS_VARIABLE = "APPLIANCE_S3_CREDENTIALS"


def setting(name: str) -> str | None:
    """Return an environment variable, or where that is unset what the machine's settings say; None if neither does."""
    value = os.environ.get(name)
    if value:
        return value
    try:
        lines = SETTINGS.read_text().splitlines()
    except OSError:
        return None
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")).get(name) or None


def credentials_of(bucket: str) -> Path | None:
    """Return the keys of the researcher that a bucket is named after, where the caller may read them; else None."""
    directory = setting(CREDENTIALS_VARIABLE)
    if not directory:
        return None
    path = Path(directory, bucket)
    # A bucket's name comes from the command line; it must not lead out of the directory.
    return path if path.parent == Path(directory) and bucket not in (".", "..") and os.access(path, os.R_OK) else None


def own_keys(bucket: str = "") -> Keys:
    """Return the caller's S3 keys as all S3 clients find them, else those of the researcher that ``bucket`` is of.

    Read anew with each call, since an operator may renew them. Raises ``PlacementUnavailable`` naming what is missing.
    """
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access and secret:
        return Keys(access, secret)
    path = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or credentials_of(bucket)
    if not path:
        raise PlacementUnavailable("there are no S3 keys: set AWS_SHARED_CREDENTIALS_FILE to a file of them")
    try:
        return Keys.from_file(Path(path))
    except OSError as error:
        raise PlacementUnavailable(f"AWS_SHARED_CREDENTIALS_FILE={path}: {error.strerror or error}") from error
    except PlacementError as error:
        raise PlacementUnavailable(f"AWS_SHARED_CREDENTIALS_FILE: {error}") from error
