"""A researcher whose S3 is full is told so in plain words, and as the error that a full disk is."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator

import http_serving
import pytest
from http_serving import serving

from appliance.compute.reading import objects

# As a gateway of Ceph 20 answers.
FULL = b"""<?xml version="1.0" encoding="UTF-8"?><Error><Code>QuotaExceeded</Code><Message></Message>
<BucketName>alice</BucketName><RequestId>tx0</RequestId><HostId>x</HostId></Error>"""
DENIED = FULL.replace(b"QuotaExceeded", b"AccessDenied")


class Gateway(http_serving.Handler):
    """Refuses each PUT: in the bucket alice for the quota, elsewhere for want of a right."""

    def do_PUT(self) -> None:
        """Take the body, so that the client hears the answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = FULL if self.path.startswith("/alice/") else DENIED
        self.send_response(403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@pytest.fixture
def access() -> Iterator[objects.S3Access]:
    with serving(Gateway) as port:
        yield objects.S3Access(f"http://127.0.0.1:{port}", key="a", secret="canary")


def test_a_full_storage_is_told_in_plain_words(access: objects.S3Access) -> None:
    with pytest.raises(OSError, match="you keep as many bytes or objects in S3 as you may") as caught:
        asyncio.run(objects.write("alice", "a/b", b"x", access, 2**20))
    assert caught.value.errno == errno.EDQUOT
    assert caught.value.filename == "s3://alice/a/b"
    assert "`appliance quota`" in str(caught.value)


def test_a_right_that_is_missing_is_not_taken_for_it(access: objects.S3Access) -> None:
    with pytest.raises(PermissionError, match="s3://bob/a"):
        asyncio.run(objects.write("bob", "a", b"x", access, 2**20))
