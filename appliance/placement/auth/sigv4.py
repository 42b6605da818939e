"""S3 users' keys, and requests signed with them (AWS signature version 4, calculated by botocore)."""

from __future__ import annotations

import configparser
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from appliance.placement.errors import ClusterError

REGION = "us-east-1"  # RGW takes any region, but the signature names one
_NO_BODY = hashlib.sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True)
class Keys:
    """An S3 user's access key and secret key; ``repr`` leaves the secret out."""

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


def timestamp(moment: datetime) -> str:
    """Return a moment (UTC) as signatures name it."""
    return moment.strftime("%Y%m%dT%H%M%SZ")


def sign(keys: Keys, method: str, host: str, target: str, stamp: str) -> str:
    """Return the signature, in hexadecimal digits, of a request without a body.

    Args:
        keys: Who signs.
        method: Such as ``GET``.
        host: The header Host.
        target: Path and query, percent-encoded.
        stamp: When it is signed (see ``timestamp``).
    """
    # Here, since it takes 40 ms, which is for those to pay who ask a service and not for all who use a map.
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signer = S3SigV4Auth(Credentials(keys.access, keys.secret), "s3", REGION)
    request = AWSRequest(method, f"http://{host}{target}", _headers(host, stamp))
    request.context["timestamp"] = stamp  # its add_auth() would take the present, and a token's time is given
    found: str = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return found


def signed_headers(keys: Keys, method: str, host: str, target: str, moment: datetime) -> dict[str, str]:
    """Return the headers that sign a request without a body; arguments as of ``sign``."""
    stamp = timestamp(moment)
    return headers_of(sign(keys, method, host, target, stamp), keys.access, host, stamp)


def headers_of(signature: str, access: str, host: str, stamp: str) -> dict[str, str]:
    """Return the headers of a request that the owner of an access key has signed."""
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    credential = f"Credential={access}/{scope}, SignedHeaders={_SIGNED}, Signature={signature}"
    return {**_headers(host, stamp), "authorization": f"AWS4-HMAC-SHA256 {credential}"}


def _headers(host: str, stamp: str) -> dict[str, str]:
    return {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
