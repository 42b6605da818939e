"""One signed request to an S3 gateway, with nothing but the standard library."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import urllib.parse


def signature(secret: str, date: str, region: str, to_sign: str) -> str:
    """AWS signature, version 4: the chain of HMACs over date, region and service, then over the text to sign."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def signed_headers(
    method: str, host: str, path: str, access: str, secret: str, moment: datetime.datetime, region: str = "us-east-1"
) -> dict[str, str]:
    """Headers that sign a request without a body or a query at a moment (UTC), as AWS documents it."""
    stamp, date = moment.strftime("%Y%m%dT%H%M%SZ"), moment.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = "\n".join([method, urllib.parse.quote(path), "", lines, names, empty])
    scope = f"{date}/{region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
    signed = signature(secret, date, region, to_sign)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signed}"
    )
    return headers


def make_bucket(endpoint: str, bucket: str, access: str, secret: str) -> tuple[int, str]:
    """PUT a bucket as the owner of the keys; gives the gateway's status and answer. Raises OSError if none answers."""
    host = urllib.parse.urlsplit(endpoint).netloc
    headers = signed_headers("PUT", host, f"/{bucket}", access, secret, datetime.datetime.now(datetime.UTC))
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("PUT", f"/{bucket}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
