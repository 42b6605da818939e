"""Bob alters what alice has signed, or signs for her: at the S3 endpoint, from his own process.

Each alteration's control is what alice has signed, sent by bob as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from s3_alterations import Altered, alterations
from s3_bodies import BEHIND, PIECES, altered_bodies
from s3_requests import Request, in_chunks
from s3_scene import SECRET, SHARED, Scene, scene

REFUSED = {
    (400, "BadDigest"),
    (400, "EntityTooLarge"),
    (400, "InvalidArgument"),
    (400, "XAmzContentSHA256Mismatch"),
    (403, ""),  # an answer to HEAD has no body
    (403, "AccessDenied"),
    (403, "InvalidAccessKeyId"),
    (403, "RequestTimeTooSkewed"),
    (403, "SignatureDoesNotMatch"),
}


@pytest.fixture(scope="module")
def there() -> Iterator[Scene]:
    with scene() as made:
        yield made


@pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in [*alterations(), *altered_bodies()]])
def test_what_is_altered_is_refused(there: Scene, way: Altered) -> None:
    answer = there.bob.send(way.wrong(there))[0]
    assert answer.said in REFUSED
    assert not {SECRET, SHARED} & {answer.body}
    assert there.seen() == there.state
    right = way.right(there)
    as_it_is = there.bob.send(right)[0]
    if right.method == "GET":
        assert as_it_is.body == SHARED
    else:
        assert as_it_is.status in (200, 204)
        assert there.alice.ask("GET", there.fill("/{bucket}/inbox")).status == 200
        there.alice.ask("DELETE", there.fill("/{bucket}/inbox"))


@pytest.mark.parametrize("what", BEHIND)
def test_what_stands_behind_the_chunks_is_not_stored(there: Scene, what: str) -> None:
    """The gateway has no need of the end: it was told the length, and that is signed."""
    place = there.fill("/{bucket}/inbox")
    head, chunks = in_chunks(there.alice.signing(), Request("PUT", place), PIECES)
    for change in (BEHIND[what], lambda chunks: chunks):
        assert there.bob.send(replace(head, body=b"".join(change(chunks))))[0].status == 200
        assert there.alice.ask("GET", place).body == b"".join(PIECES)
        there.alice.ask("DELETE", place)
