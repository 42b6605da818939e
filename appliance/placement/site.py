"""What a machine of the facility knows about it, for commands typed there without a word of configuration."""

from __future__ import annotations

import os
from pathlib import Path

SETTINGS = Path("/etc/appliance/client.env")  # lines NAME=VALUE, written by role `placement`
CREDENTIALS = Path("/etc/appliance/s3")  # an AWS credentials file for each researcher, readable by root


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
    path = CREDENTIALS / bucket
    # A bucket's name comes from the command line; it must not lead out of the directory.
    return path if path.parent == CREDENTIALS and bucket not in (".", "..") and os.access(path, os.R_OK) else None
