"""Uploads that alice has signed piece by piece or as a form, and what bob may alter in them. Pure: a scene in."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from s3_alterations import BODY, Altered, Maker
from s3_requests import TRAILER, UNSIGNED, Request, form, in_chunks, posted, signed
from s3_scene import HOST, Scene

PIECES = (b"a" * 70_000, b"b" * 70_000, b"c" * 100)


def altered_bodies() -> list[Altered]:
    """All of them, each by a name of its own."""
    return [*_chunks(), *_forms()]


def _chunks() -> Iterator[Altered]:
    """An upload whose chunks are signed one by one."""

    def made(change: Callable[[list[bytes]], list[bytes]], **headers: str) -> Maker:
        def request(there: Scene) -> Request:
            head, chunks = in_chunks(there.alice.signing(), Request("PUT", there.fill("/{bucket}/inbox")), PIECES)
            return replace(head.with_headers(**headers), body=b"".join(change(chunks)))

        return request

    right = made(lambda chunks: chunks)
    changes: dict[str, Callable[[list[bytes]], list[bytes]]] = {
        "another byte": lambda chunks: [chunks[0].replace(b"aa", b"ab", 1), *chunks[1:]],
        "another byte in the last": lambda chunks: [*chunks[:2], chunks[2].replace(b"cc", b"cd", 1), chunks[3]],
        "another byte, and no end": lambda chunks: [*chunks[:2], chunks[2].replace(b"cc", b"cd", 1)],
        "another order": lambda chunks: [chunks[1], chunks[0], *chunks[2:]],
        "one of them twice": lambda chunks: [chunks[0], chunks[0], *chunks[2:]],
        "without the first": lambda chunks: chunks[1:],
        "without the middle": lambda chunks: [chunks[0], *chunks[2:]],
        "without the last": lambda chunks: [*chunks[:2], chunks[3]],
        "cut off": lambda chunks: chunks[:2],
        "cut off, with an end": lambda chunks: [*chunks[:2], b"0\r\n\r\n"],
        "another signature": lambda chunks: [chunks[0].replace(b"signature=", b"signature=0", 1)[:-1], *chunks[1:]],
        "no signatures": lambda _: plain_chunks(PIECES),
        "the last one unsigned": lambda chunks: [*chunks[:2], *plain_chunks(PIECES[2:])],
    }
    for name, change in changes.items():
        yield Altered(f"chunks: {name}", right, made(change))
    yield Altered("chunks: another length", right, made(lambda chunks: chunks, x_amz_decoded_content_length="100"))
    for name, payload in {"unsigned": UNSIGNED, "with a checksum": TRAILER}.items():
        wrong = made(lambda _: plain_chunks(PIECES), x_amz_content_sha256=payload)
        yield Altered(f"chunks: {name}, says the header", right, wrong)
    yield Altered("chunks: another byte for a checksum", _checked(BODY), _checked(BODY.upper()))


def _checked(sent: bytes) -> Maker:
    """An upload whose chunks are not signed: a checksum of what alice meant follows them."""
    checksum = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()

    def request(there: Scene) -> Request:
        told = Request("PUT", there.fill("/{bucket}/inbox")).with_headers(
            content_encoding="aws-chunked",
            x_amz_decoded_content_length=str(len(BODY)),
            x_amz_trailer="x-amz-checksum-crc32",
            x_amz_sdk_checksum_algorithm="CRC32",
        )
        end = f"x-amz-checksum-crc32:{checksum}\r\n\r\n".encode()
        body = plain_chunks([sent])
        return replace(signed(there.alice.signing(), told, TRAILER), body=body[0] + b"0\r\n" + end)

    return request


def plain_chunks(pieces: Sequence[bytes]) -> list[bytes]:
    """Chunks without signatures, and their end."""
    return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b"")]


# What may stand behind alice's own chunks, or be missing there: the gateway has read all that she signed.
BEHIND: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "no end": lambda chunks: chunks[:-1],
    "an end that is not signed": lambda chunks: [*chunks[:-1], b"0\r\n\r\n"],
    "an end with another signature": lambda chunks: [*chunks[:-1], b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"],
    "more before the end": lambda chunks: [*chunks[:-1], b"5\r\nbob's\r\n", chunks[-1]],
    "more behind the end": lambda chunks: [*chunks, *plain_chunks([b"bob's"])],
}


def _forms() -> Iterator[Altered]:
    """A form with which somebody's browser may upload into one place."""

    def made(
        file: bytes = BODY, seconds: int = 300, target: str = "/{bucket}", changes: dict[str, str] | None = None
    ) -> Maker:
        """The form as alice made it, with changed fields; those that are empty are taken out."""

        def request(there: Scene) -> Request:
            conditions = [
                {"bucket": there.fill("{bucket}")},
                ["starts-with", "$key", "inbox"],
                {"acl": "private"},
                ["content-length-range", 0, 100],
            ]
            fields = form(there.alice.signing(), {"key": "inbox", "acl": "private"}, conditions, seconds)
            fields |= {name: there.fill(value) for name, value in (changes or {}).items()}
            kept = {name: value for name, value in fields.items() if value}
            return posted(there.fill(target), HOST, kept, file)

        return request

    policy = base64.b64encode(b'{"expiration": "2099-01-01T00:00:00Z", "conditions": []}').decode()
    fields = {
        "another key": {"key": "{key}"},
        "another key by its file": {"key": "${filename}"},
        "for everybody": {"acl": "public-read"},
        "no policy": {"policy": ""},
        "another policy": {"policy": policy},
        "no signature": {"x-amz-signature": ""},
        "another signature": {"x-amz-signature": "0" * 64},
        "of another's keys": {"x-amz-credential": "bob/20260101/us-east-1/s3/aws4_request"},
        "tags that nobody allowed": {"tagging": "<Tagging><TagSet></TagSet></Tagging>"},
        "metadata that nobody allowed": {"x-amz-meta-colour": "red"},
        "a redirect that nobody allowed": {"success_action_redirect": "http://elsewhere.example/"},
        "a kind that nobody allowed": {"Content-Type": "text/html"},
    }
    wrongs = {
        **{name: made(changes=changes) for name, changes in fields.items()},
        "another bucket": made(target="/{target}"),
        "a longer file": made(b"x" * 101),
        "its time is over": made(seconds=-60),
    }
    for name, wrong in wrongs.items():
        yield Altered(f"form: {name}", made(), wrong)
