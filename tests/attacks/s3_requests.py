"""Requests to S3 as they go over the wire, signed by hand, so that each part of one can be altered. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote, unquote

from appliance.placement.auth.sigv4 import Keys

REGION = "us-east-1"
UNSIGNED = "UNSIGNED-PAYLOAD"
CHUNKED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
BOUNDARY = "boundary-of-the-form"


@dataclass(frozen=True)
class Request:
    """One request; ``target`` is path and query as they are sent."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def with_headers(self, **headers: str | None) -> Request:
        """The same with other headers, named with ``_`` for ``-``; without those that are None."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name not in told}
        return replace(self, headers={**kept, **{name: value for name, value in told.items() if value is not None}})


@dataclass(frozen=True)
class Signing:
    """How a request is signed: ``seconds`` from now, for a region and a service."""

    keys: Keys
    host: str
    seconds: float = 0.0
    region: str = REGION
    service: str = "s3"
    made: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def moment(self) -> datetime:
        return self.made + timedelta(seconds=self.seconds)

    @property
    def stamp(self) -> str:
        return self.moment.strftime("%Y%m%dT%H%M%SZ")

    @property
    def scope(self) -> str:
        return f"{self.stamp[:8]}/{self.region}/{self.service}/aws4_request"

    @property
    def credential(self) -> str:
        return f"{self.keys.access}/{self.scope}"

    def signature(self, text: str) -> str:
        """Sign a text with the key of the scope."""
        key = f"AWS4{self.keys.secret}".encode()
        for part in self.scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    def of(self, request: Request, payload: str, signed: Sequence[str]) -> str:
        """The signature of a request, over the headers that ``signed`` names in order."""
        query = request.target.partition("?")[2]
        parts = ["=".join(pair) for pair in sorted(part.partition("=")[::2] for part in query.split("&") if part)]
        heads = {name.lower(): value.strip() for name, value in request.headers.items()}
        path = quote(unquote(request.path), safe="/-_.~")  # as the gateway writes it anew
        lines = [request.method, path, "&".join(parts), *(f"{name}:{heads[name]}" for name in signed)]
        canonical = "\n".join([*lines, "", ";".join(signed), payload])
        return self.signature(f"AWS4-HMAC-SHA256\n{self.stamp}\n{self.scope}\n{_sha256(canonical.encode())}")


def signed(how: Signing, request: Request, payload: str = "") -> Request:
    """Sign in the header, over all headers; ``payload`` stands for the body's digest where it is given."""
    payload = payload or _sha256(request.body)
    told = request.with_headers(host=how.host, x_amz_date=how.stamp, x_amz_content_sha256=payload)
    names = sorted(name.lower() for name in told.headers)
    signature = how.of(told, payload, names)
    value = f"AWS4-HMAC-SHA256 Credential={how.credential}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return told.with_headers(Authorization=value)


def presigned(how: Signing, request: Request, expires: int = 300) -> Request:
    """Sign in the query, as somebody does who hands a request on."""
    told = request.with_headers(host=how.host)
    names = sorted(name.lower() for name in told.headers)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": how.credential,
        "X-Amz-Date": how.stamp,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    told = replace(told, target=f"{request.target}{'&' if '?' in request.target else '?'}{text}")
    return replace(told, target=f"{told.target}&X-Amz-Signature={how.of(told, UNSIGNED, names)}")


def signed_v2(how: Signing, request: Request) -> Request:
    """Sign by the older version, in the header; of a request without a query and without headers of its own."""
    date = format_datetime(how.moment, usegmt=True)
    signature = quote(_sha1(how.keys, f"{request.method}\n\n\n{date}\n{request.path}"), safe="+/=")
    value = f"AWS {how.keys.access}:{signature}"
    return request.with_headers(host=how.host, Date=date, Authorization=value)


def presigned_v2(how: Signing, request: Request, expires: int = 300) -> Request:
    """Sign by the older version, in the query."""
    until = int(how.moment.timestamp()) + expires
    signature = quote(_sha1(how.keys, f"{request.method}\n\n\n{until}\n{request.path}"), safe="")
    query = f"AWSAccessKeyId={how.keys.access}&Expires={until}&Signature={signature}"
    return replace(request.with_headers(host=how.host), target=f"{request.path}?{query}")


def in_chunks(how: Signing, request: Request, pieces: Sequence[bytes]) -> tuple[Request, list[bytes]]:
    """Sign a body chunk by chunk; return the request without a body, and the chunks as they are sent."""
    told = request.with_headers(content_encoding="aws-chunked", x_amz_decoded_content_length=str(sum(map(len, pieces))))
    told = signed(how, told, CHUNKED)
    before = told.headers["Authorization"].rpartition("Signature=")[2]
    chunks = []
    for piece in (*pieces, b""):
        lines = ["AWS4-HMAC-SHA256-PAYLOAD", how.stamp, how.scope, before, _sha256(b""), _sha256(piece)]
        before = how.signature("\n".join(lines))
        chunks.append(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(piece), before.encode(), piece))
    return told, chunks


def form(how: Signing, fields: Mapping[str, str], conditions: Sequence[object], seconds: int = 300) -> dict[str, str]:
    """The fields of a form with which a browser uploads, signed."""
    until = (how.moment + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    own = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": how.credential,
        "x-amz-date": how.stamp,
    }
    every = [*conditions, *({name: value} for name, value in own.items())]
    policy = base64.b64encode(json.dumps({"expiration": until, "conditions": every}).encode()).decode()
    return {**fields, **own, "policy": policy, "x-amz-signature": how.signature(policy)}


def posted(target: str, host: str, fields: Mapping[str, str], file: bytes) -> Request:
    """The request that a browser makes of a form; the file comes last."""
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = "".join([*parts, head]).encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return Request("POST", target, {"host": host, "Content-Type": kind}, body)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha1(keys: Keys, text: str) -> str:
    return base64.b64encode(hmac.new(keys.secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
