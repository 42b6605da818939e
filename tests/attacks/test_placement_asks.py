"""Bob at the placement service: what it tells of alice's objects, and to whom.

SECURITY.md says: the names of buckets are told to every researcher, and where the pieces of an object lie to whoever
can name its etag.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from placement_rack import URL
from s3_requests import Request, signed
from s3_scene import HOST, Answer, Person, Scene, scene

from appliance.placement.auth.sigv4 import Keys, sign
from appliance.placement.auth.tokens import HOST as TOKENS_HOST
from appliance.placement.auth.tokens import Token
from appliance.placement.http_api import LAYOUTS_PATH, MAP_PATH

FIELDS = {"marker", "pool", "placement", "versioned"}  # of a bucket in the map
PIECES = 5 * 2**20, 1  # bytes; S3's least of a part that is not the last


@dataclass(frozen=True)
class Pieces:
    """An object of alice's in two pieces, and whoever asks where they lie."""

    there: Scene
    alice: Person
    bob: Person
    etag: str

    def layouts(self, asker: Person, *objects: tuple[str, str, str], bucket: str = "{bucket}") -> Answer:
        """Ask for objects' layouts, each by key, version and etag."""
        body = json.dumps({"bucket": self.there.fill(bucket), "objects": objects}).encode()
        return asker.send(Request("POST", LAYOUTS_PATH, {"host": "x", "Authorization": header(asker.keys)}, body))[0]

    def map(self, header: str | None, target: str = MAP_PATH, **more: str) -> Answer:
        """Ask for the map from bob's process."""
        return self.bob.send(Request("GET", target).with_headers(host="x", Authorization=header, **more))[0]


def header(keys: Keys, seconds: float = 0.0) -> str:
    """A token as it is sent."""
    return Token.of(keys, datetime.now(UTC) + timedelta(seconds=seconds)).header()


@pytest.fixture(scope="module")
def pieces() -> Iterator[Pieces]:
    with scene() as there:
        place = there.fill("/{bucket}/pieces")
        upload = there.alice.ask("POST", f"{place}?uploads").text("UploadId")
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['etag']}</ETag></Part>"
            for number, answer in enumerate(
                there.alice.ask_all(
                    *(
                        ("PUT", f"{place}?partNumber={number}&uploadId={upload}", bytes(size))
                        for number, size in enumerate(PIECES, 1)
                    )
                ),
                1,
            )
        )
        whole = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        there.alice.ask("POST", f"{place}?uploadId={upload}", whole)
        etag = there.alice.ask("HEAD", place).headers["etag"].strip('"')
        assert etag.endswith("-2")
        there.state = there.seen()
        yield Pieces(there, replace(there.alice, url=URL), replace(there.bob, url=URL), etag)


# What is told to whom

WRONG_ETAGS = {
    "none": "",
    "an empty one": '""',
    "any": "*",
    "one of zeros": "0" * 32,
    "of what holds no byte": "d41d8cd98f00b204e9800998ecf8427e",
    "half of it": "{half}",
    "its beginning": "{stem}",
    "in capitals": "{capitals}",
    "weak": 'W/"{etag}"',
    "in a list": "{etag}, {etag}",
    "with a space": " {etag}",
    "with an end": "{etag}\0",
    "with more": "{etag}0",
}


@pytest.mark.parametrize("what", WRONG_ETAGS)
def test_without_the_etag_nobody_is_told_where_an_object_lies(pieces: Pieces, what: str) -> None:
    """An object that is there and one that is not are answered alike."""
    stem = pieces.etag.partition("-")[0]
    wrong = WRONG_ETAGS[what].format(etag=pieces.etag, stem=stem, half=stem[:16], capitals=pieces.etag.upper())
    answers = [pieces.layouts(pieces.bob, (key, "", wrong)) for key in ("pieces", "nothing")]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body == b'{"layouts": [null]}'
    for person in (pieces.alice, pieces.bob):  # who knows it has been let in by the S3 gateway
        (layout,) = json.loads(pieces.layouts(person, ("pieces", "", pieces.etag)).body)["layouts"]
        assert layout["bytes"] == sum(PIECES)


@pytest.mark.parametrize(
    ("bucket", "key", "version"),
    [
        ("bob", "../{bucket}/pieces", ""),
        ("bob", "{marker}_pieces", ""),
        ("bob", "/{bucket}/pieces", ""),
        ("bob", "pieces", "../{bucket}"),
        ("{bucket}/", "pieces", ""),
        ("{bucket}/../{bucket}", "pieces", ""),
        ("alice/{bucket}", "pieces", ""),
        ("{bucket}\0", "pieces", ""),
        ("{bucket}", "pieces", "other"),
        ("{bucket}", "_pieces", ""),
    ],
)
def test_an_etag_opens_its_own_object_alone(pieces: Pieces, bucket: str, key: str, version: str) -> None:
    held = json.loads(pieces.map(header(pieces.bob.keys), pieces.there.fill(MAP_PATH + "?bucket={bucket}")).body)
    marker = held["buckets"][pieces.there.names["bucket"]]["marker"]
    fill = pieces.there.fill
    asked = fill(key).replace("{marker}", marker), fill(version), pieces.etag
    assert pieces.layouts(pieces.bob, asked, bucket=bucket).body == b'{"layouts": [null]}'
    assert b"null" not in pieces.layouts(pieces.bob, ("pieces", "", pieces.etag)).body


def test_the_map_names_buckets_and_neither_owners_nor_objects(pieces: Pieces) -> None:
    answer = pieces.map(header(pieces.bob.keys), pieces.there.fill(MAP_PATH + "?bucket={bucket}"))
    held = json.loads(answer.body)
    assert set(held["buckets"][pieces.there.names["bucket"]]) == FIELDS
    assert set(held) == {"format", "epoch", "cluster", "chunk_bytes", "hosts", "osds", "pools", "buckets"}
    for word in ("secret", "pieces", pieces.etag, pieces.alice.keys.access, pieces.alice.keys.secret):
        assert word.encode() not in answer.body


@pytest.mark.parametrize("page", ["/metrics", "/healthz"])
def test_what_is_open_to_all_names_nobody(pieces: Pieces, page: str) -> None:
    pieces.layouts(pieces.alice, ("pieces", "", pieces.etag))
    answer = pieces.map(None, page)
    assert answer.status == 200
    for word in ("alice", "bob", pieces.there.names["bucket"], "pieces", pieces.alice.keys.access):
        assert word.encode() not in answer.body
    assert pieces.map(None).status == 401


@pytest.mark.parametrize(
    "name",
    [
        "alice&stats=true",
        "alice%26stats%3Dtrue",
        "..%2Fuser%3Fuid%3Dalice",
        "%3Fuid%3Dalice",
        "alice%0D%0AX%3A%20y",
        "alice%00",
        "x" * 3000,
        "",
    ],
)
def test_a_name_that_is_none_makes_the_service_ask_for_nothing_else(pieces: Pieces, name: str) -> None:
    """It asks the S3 gateway for the record of a bucket that it does not know yet, with a key of its own."""
    answer = pieces.map(header(pieces.bob.keys), f"{MAP_PATH}?bucket={name}")
    assert answer.status == 200
    named = json.loads(answer.body)["buckets"]
    assert unquote(name) not in named
    assert "alice" in named
    assert all(set(bucket) == FIELDS for bucket in named.values())
    assert json.loads(pieces.map(None, "/healthz").body)["failure"] is None


# Who may ask


def _token(pieces: Pieces, signature: str, keys: Keys | None = None, stamp: str = "") -> str:
    now = Token.of(pieces.alice.keys, datetime.now(UTC))
    return Token((keys or pieces.alice.keys).access, stamp or now.stamp, signature).header()


def _signed(pieces: Pieces, method: str = "GET", host: str = TOKENS_HOST, target: str = "/", secret: str = "") -> str:
    """A token of alice's access key, whose signature is of another request, or made with another secret."""
    stamp = Token.of(pieces.alice.keys, datetime.now(UTC)).stamp
    keys = Keys(pieces.alice.keys.access, secret or pieces.alice.keys.secret)
    return Token(keys.access, stamp, sign(keys, method, host, target, stamp)).header()


FORGED: dict[str, Callable[[Pieces], str | None]] = {
    "nothing": lambda _: None,
    "empty": lambda _: "",
    "with bob's secret": lambda pieces: _signed(pieces, secret=pieces.bob.keys.secret),
    "bob's signature": lambda pieces: _token(pieces, Token.of(pieces.bob.keys, datetime.now(UTC)).signature),
    "her signature, another access key": lambda pieces: header(pieces.alice.keys).replace(
        pieces.alice.keys.access, pieces.bob.keys.access
    ),
    "zeros": lambda pieces: _token(pieces, "0" * 64),
    "half": lambda pieces: header(pieces.alice.keys)[:-32],
    "longer": lambda pieces: header(pieces.alice.keys) + "00",
    "in capitals": lambda pieces: header(pieces.alice.keys).upper(),
    "too old": lambda pieces: header(pieces.alice.keys, -1000),
    "too new": lambda pieces: header(pieces.alice.keys, 1000),
    "another time": lambda pieces: _token(pieces, Token.of(pieces.alice.keys, datetime.now(UTC)).signature, None,
                                          datetime.now(UTC).strftime("%Y%m%dT%H%M00Z")),
    "of the S3 endpoint": lambda pieces: _signed(pieces, host=HOST),
    "of no host": lambda pieces: _signed(pieces, host=""),
    "of a bucket": lambda pieces: _signed(pieces, target="/alice"),
    "of a write": lambda pieces: _signed(pieces, method="PUT"),
    "of a look": lambda pieces: _signed(pieces, method="HEAD"),
    "her name": lambda _: "Appliance-S3 alice/20260101T000000Z/" + "0" * 64,
    "an S3 request's": lambda pieces: signed(pieces.alice.signing(), Request("GET", "/")).headers["Authorization"],
    "Basic": lambda _: "Basic YWxpY2U6YWxpY2U=",
    "Bearer": lambda pieces: header(pieces.alice.keys).replace("Appliance-S3", "Bearer"),
    "two of them": lambda pieces: f"{header(pieces.alice.keys)}, {header(pieces.bob.keys)}",
    "more behind it": lambda pieces: f"{header(pieces.alice.keys)} {'x' * 100}",
}  # fmt: skip


@pytest.mark.parametrize("path", [MAP_PATH, LAYOUTS_PATH])
@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_is_refused(pieces: Pieces, how: str, path: str) -> None:
    """Also where the service has just found alice's own token right and remembers it."""
    assert pieces.map(header(pieces.alice.keys)).status == 200
    body = json.dumps({"bucket": pieces.there.names["bucket"], "objects": [["pieces", "", pieces.etag]]}).encode()
    request = Request("GET" if path == MAP_PATH else "POST", path, {}, b"" if path == MAP_PATH else body)
    for value, status in ((FORGED[how](pieces), 401), (header(pieces.alice.keys), 200)):
        answer = pieces.bob.send(request.with_headers(host="x", Authorization=value))[0]
        assert answer.status == status, answer


@pytest.mark.parametrize(
    "name",
    ["X_Authorization", "Proxy_Authorization", "X_Appliance_User", "X_Forwarded_User", "X_Forwarded_For", "Cookie"],
)
def test_no_other_header_stands_for_a_token(pieces: Pieces, name: str) -> None:
    for value in ("alice", "127.0.0.1", header(pieces.alice.keys)):
        assert pieces.map(None, **{name: value}).status == 401
    assert pieces.map(None, f"{MAP_PATH}?Authorization={header(pieces.alice.keys).replace(' ', '%20')}").status == 401
    assert pieces.map(header(pieces.alice.keys), **{name: "bob"}).status == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/{bucket}"), ("GET", "/{bucket}/{key}"), ("PUT", "/{bucket}/new"), ("DELETE", "/{bucket}/{key}"),
     ("GET", "/?uploads"), ("HEAD", "/"), ("GET", "/admin/user?uid=alice")],
)  # fmt: skip
def test_a_token_opens_nothing_in_s3_but_the_names_of_buckets(pieces: Pieces, method: str, target: str) -> None:
    """For whoever finds one, as the services do that are asked with it."""
    there = pieces.there
    parts = Token.of(pieces.alice.keys, datetime.now(UTC)).request()
    answer = there.bob.send(Request(method, there.fill(target), parts))[0]
    assert answer.said in ((403, "SignatureDoesNotMatch"), (403, "")), answer
    assert there.seen() == there.state
    assert there.fill("<Name>{bucket}<").encode() in there.bob.send(Request("GET", "/", parts))[0].body
