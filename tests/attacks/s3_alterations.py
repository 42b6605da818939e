"""Requests that alice has signed and handed on, and what bob may alter in them. Pure: a scene in, requests out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from s3_requests import TRAILER, UNSIGNED, Request, Signing, presigned, presigned_v2, signed, signed_v2
from s3_scene import Scene

from appliance.placement.auth.sigv4 import Keys

Maker = Callable[[Scene], Request]
Signer = Callable[[Signing, Request], Request]
BODY = b"what bob may write"
QUARTER = 900  # s; how old or new a signature may be
WEEK = 7 * 86400  # s; for how long a link may hold


@dataclass(frozen=True)
class Altered:
    """One alteration: ``right`` is what alice has signed, and is taken; ``wrong`` is what bob made of it."""

    name: str
    right: Maker
    wrong: Maker


def alterations() -> list[Altered]:
    """All of requests, each by a name of its own."""
    return [*_handed_on(), *_uploads(), *_headers(), *_forged(), *_older()]


def _reading(sign: Signer, seconds: float = 0.0, keys: Callable[[Scene], Keys] | None = None) -> Maker:
    """Read what alice has handed on, signed in some way, at some time, with her keys or others."""

    def made(there: Scene) -> Request:
        signing = there.alice.signing(seconds=seconds, keys=keys(there) if keys else there.alice.keys)
        return sign(signing, Request("GET", there.fill("/{bucket}/shared")))

    return made


_get, _read = _reading(presigned), _reading(signed)
_old_get, _old_read = _reading(presigned_v2), _reading(signed_v2)


def _put(there: Scene) -> Request:
    return presigned(there.alice.signing(), Request("PUT", there.fill("/{bucket}/inbox"), body=BODY))


def _write(there: Scene) -> Request:
    return signed(there.alice.signing(), Request("PUT", there.fill("/{bucket}/inbox"), body=BODY))


def _text(old: str, new: str, of: Maker) -> Maker:
    """Another target; names in braces are the scene's."""

    def made(there: Scene) -> Request:
        request = of(there)
        assert there.fill(old) in request.target, request.target
        return replace(request, target=request.target.replace(there.fill(old), there.fill(new), 1))

    return made


def _more(text: str, of: Maker) -> Maker:
    return lambda there: replace(of(there), target=of(there).target + text)


def _by(of: Maker, method: str = "", body: bytes | None = None, **headers: str | None) -> Maker:
    """Another method, body or header; names in braces are the scene's."""

    def made(there: Scene) -> Request:
        request = of(there)
        told = {name: value and there.fill(value) for name, value in headers.items()}
        changed = request.with_headers(**told)
        return replace(changed, method=method or request.method, body=request.body if body is None else body)

    return made


def _for(expires: int, of: Callable[[Signing, Request, int], Request] = presigned) -> Signer:
    """Sign a link for some seconds."""
    return lambda signing, request: of(signing, request, expires)


def _handed_on() -> Iterator[Altered]:
    """A link with which somebody may read one object."""
    changes = {
        "another key": _text("shared", "{key}", _get),
        "another key by dots": _text("shared?", "shared/../{key}?", _get),
        "another key by two slashes": _text("/shared?", "//{key}?", _get),
        "all keys": _text("/shared?", "?list-type=2&", _get),
        "another bucket": _text("/{bucket}/shared", "/{kept}/{key}", _get),
        "a longer time": _text("X-Amz-Expires=300", "X-Amz-Expires=3000", _get),
        "a longer time beside it": _more("&X-Amz-Expires=3000", _get),
        "no time": _text("X-Amz-Expires=300&", "", _get),
        "another time": _text("X-Amz-Date=2", "X-Amz-Date=3", _get),
        "another region": _text("us-east-1", "eu-west-1", _get),
        "another service": _text("%2Fs3%2F", "%2Fiam%2F", _get),
        "another algorithm": _text("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", _get),
        "more headers signed": _text("SignedHeaders=host", "SignedHeaders=host%3Brange", _get),
        "no header signed": _text("SignedHeaders=host", "SignedHeaders=", _get),
        "no signature": lambda there: replace(_get(there), target=_get(there).target.partition("&X-Amz-Sig")[0]),
        "an empty signature": lambda there: replace(_get(there), target=_get(there).target[:-64]),
        "half a signature": lambda there: replace(_get(there), target=_get(there).target[:-32]),
        "a longer signature": _more("00", _get),
        "a signature of zeros": lambda there: replace(_get(there), target=_get(there).target[:-64] + "0" * 64),
        "a second signature": _more("&X-Amz-Signature=" + "0" * 64, _get),
        "of bob's keys": lambda there: _text(there.alice.keys.access, there.bob.keys.access, _get)(there),
        "a deletion": _by(_get, "DELETE"),
        "a write": _by(_get, "PUT", b"bob's"),
        "a form": _by(_get, "POST", b"bob's"),
        "a look at its header": _by(_get, "HEAD"),
        "another host": _by(_get, host="elsewhere.example"),
        "no host": _by(_get, host=""),
        "a host beside it": _by(_get, X_Forwarded_Host="elsewhere.example", host="elsewhere.example"),
    }
    for query in ("acl", "tagging", "versionId=null", "uploads", "partNumber=1", "response-content-type=text%2Fhtml"):
        changes[f"with ?{query}"] = _more(f"&{query}", _get)
    for name, wrong in changes.items():
        yield Altered(f"link: {name}", _get, wrong)
    yield Altered("link: its time is over", _get, _reading(_for(60), -120))
    yield Altered("link: for longer than a week", _reading(_for(WEEK)), _reading(_for(WEEK + 1)))


def _uploads() -> Iterator[Altered]:
    """A link with which somebody may write one object. What the link does not say, the writer must not choose."""
    yield Altered("upload: another key", _put, _text("inbox", "{key}", _put))
    yield Altered("upload: a deletion", _put, _by(_put, "DELETE", b""))
    yield Altered("upload: a part", _put, _more("&partNumber=2&uploadId=x", _put))
    yield Altered("upload: appended", _put, _more("&append&position=0", _put))
    for header, value in {
        "x_amz_copy_source": "/{bucket}/{key}",
        "x_amz_acl": "public-read",
        "x_amz_grant_read": "id=bob",
        "x_amz_grant_full_control": "id=bob",
        "x_amz_tagging": "a=b",
        "x_amz_meta_colour": "red",
        "x_amz_storage_class": "STANDARD",
        "x_amz_website_redirect_location": "/elsewhere",
        "x_amz_object_lock_legal_hold": "ON",
    }.items():
        body = b"" if header == "x_amz_copy_source" else None
        yield Altered(f"upload: with {header.replace('_', '-')}", _put, _by(_put, body=body, **{header: value}))


def _headers() -> Iterator[Altered]:
    """A request that alice sent, which somebody has seen on its way."""
    for name, seconds in (("too old", -QUARTER - 60), ("too new", QUARTER + 60)):
        yield Altered(f"seen: {name}", _read, _reading(signed, seconds))
    changes = {
        "another key": _text("shared", "{key}", _read),
        "all keys": _text("/shared", "?list-type=2", _read),
        "a deletion": _by(_read, "DELETE"),
        "another host": _by(_read, host="elsewhere.example"),
        "another day": _by(_read, x_amz_date="20200101T000000Z"),
        "no date": _by(_read, x_amz_date=None),
        "a copy's source": _by(_read, "PUT", x_amz_copy_source="/{bucket}/{key}"),
        "more in the query": _more("?acl", _read),
    }
    for name, wrong in changes.items():
        yield Altered(f"seen: {name}", _read, wrong)
    for name, wrong in {
        "another body": _by(_write, body=BODY.upper()),
        "a longer body": _by(_write, body=BODY + b" and more"),
        "no body": _by(_write, body=b""),
        "no digest": _by(_write, body=BODY.upper(), x_amz_content_sha256=UNSIGNED),
        "a digest of chunks": _by(_write, body=BODY.upper(), x_amz_content_sha256=TRAILER),
        "without the digest": _by(_write, body=BODY.upper(), x_amz_content_sha256=None),
        "for everybody": _by(_write, x_amz_acl="public-read"),
        "a copy": _by(_write, body=b"", x_amz_copy_source="/{bucket}/{key}"),
    }.items():
        yield Altered(f"seen write: {name}", _write, wrong)


def _forged() -> Iterator[Altered]:
    """Requests that nobody has signed for alice. Names and access keys are not secret."""
    values = {
        "nothing": None,
        "empty": "",
        "a name": "Basic YWxpY2U6YWxpY2U=",
        "a token": "Bearer alice",
        "Swift's": "AWS alice:swift:AAAA",
        "no parts": "AWS4-HMAC-SHA256",
        "empty parts": "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=",
        "the older one": "AWS {access}:AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "the older one, empty": "AWS {access}:",
        "the newest one": "AWS4-ECDSA-P256-SHA256 Credential={access}/20260101/s3/aws4_request, Signature=00",
    }
    for name, value in values.items():
        yield Altered(f"forged: {name}", _read, _by(_read, Authorization=value))
    others: dict[str, Callable[[Scene], Keys]] = {
        "with bob's secret": lambda there: Keys(there.alice.keys.access, there.bob.keys.secret),
        "with no secret": lambda there: Keys(there.alice.keys.access, ""),
        "by her name": lambda there: Keys("alice", there.bob.keys.secret),
        "by nobody": lambda _: Keys("anonymous", "anonymous"),
        "by an empty name": lambda _: Keys("", ""),
        "by the facility's name": lambda _: Keys("appliance-placement", ""),
    }
    signers = {"": signed, ", a link": _for(300), ", older": signed_v2, ", older link": _for(300, presigned_v2)}
    for name, keys in others.items():
        for how, sign in signers.items():
            yield Altered(f"forged: {name}{how}", _read, _reading(sign, keys=keys))

    def mixed(there: Scene) -> Request:
        own = signed(there.bob.signing(), Request("GET", there.fill("/{bucket}/shared")))
        return _get(there).with_headers(Authorization=own.headers["Authorization"])

    yield Altered("forged: her link with bob's header", _get, mixed)


def _older() -> Iterator[Altered]:
    """The older version of signatures, which the gateway takes too."""
    for name, wrong in {
        "another key": _text("shared", "{key}", _old_read),
        "a deletion": _by(_old_read, "DELETE"),
        "more in the query": _more("?acl", _old_read),
        "another answer's type": _more("?response-content-type=text%2Fhtml", _old_read),
        "a copy's source": _by(_old_read, x_amz_copy_source="/{bucket}/{key}"),
        "another date": _by(_old_read, Date="Thu, 01 Jan 2026 00:00:00 GMT"),
        "too old": _reading(signed_v2, -QUARTER - 60),
        "too new": _reading(signed_v2, QUARTER + 60),
    }.items():
        yield Altered(f"older: {name}", _old_read, wrong)
    for name, wrong in {
        "another key": _text("shared", "{key}", _old_get),
        "a longer time": _text("Expires=", "Expires=1", _old_get),
        "a deletion": _by(_old_get, "DELETE"),
        "its time is over": _reading(_for(60, presigned_v2), -120),
    }.items():
        yield Altered(f"older link: {name}", _old_get, wrong)
