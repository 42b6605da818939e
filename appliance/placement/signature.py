"""S3 users' keys, and requests signed with them (AWS signature version 4)."""

from __future__ import annotations

import configparser
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from appliance.placement.errors import ClusterError

REGION = "us-east-1"  # RGW takes any region, but the signature names one
_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = hashlib.sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True)
class Keys:
    """An S3 user's keys."""

    access: str
    secret: str = field(repr=False)

    @classmethod
    def from_file(cls, path: Path) -> Keys:
        """Read the default profile of an AWS credentials file; raises ``ClusterError`` or ``OSError``."""
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text())
            profile = parser["default"]
            return cls(profile["aws_access_key_id"], profile["aws_secret_access_key"])
        except (configparser.Error, KeyError) as error:
            # Not the parser's own words, which quote lines of the file.
            fault = type(error).__name__
            raise ClusterError(f"{path} is no AWS credentials file with a default profile ({fault})") from None


def stamped(moment: datetime) -> str:
    """Return a moment (UTC) as signatures name it."""
    return moment.strftime("%Y%m%dT%H%M%SZ")


def signature(keys: Keys, host: str, path: str, query: str, stamp: str, method: str = "GET") -> str:
    """Return the signature, in hexadecimal digits, of a request without a body.

    Path and query are encoded already, and the query is sorted.
    """
    headers = _headers(host, stamp)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = "\n".join([method, path, query, *lines, "", _SIGNED, _NO_BODY])
    scope = _scope(stamp)
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def headers_with(found: str, access: str, host: str, stamp: str) -> dict[str, str]:
    """Return the headers of a request that a user signed as ``found``."""
    credential = f"Credential={access}/{_scope(stamp)}, SignedHeaders={_SIGNED}, Signature={found}"
    return {**_headers(host, stamp), "authorization": f"{_ALGORITHM} {credential}"}


def signed(keys: Keys, host: str, path: str, query: str, now: datetime, method: str = "GET") -> dict[str, str]:
    """Return the headers that sign a request without a body; path and query as ``signature`` takes them."""
    stamp = stamped(now)
    return headers_with(signature(keys, host, path, query, stamp, method), keys.access, host, stamp)


def _headers(host: str, stamp: str) -> dict[str, str]:
    return {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}


def _scope(stamp: str) -> str:
    return f"{stamp[:8]}/{REGION}/s3/aws4_request"
