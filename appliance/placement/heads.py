"""What S3 says of single objects, asked with the keys of whoever wants to read them."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.placement.errors import PlacementUnavailable
from appliance.placement.listing import Listed
from appliance.placement.map import STANDARD
from appliance.placement.names import NULL_VERSION
from appliance.placement.signature import Keys, signed
from appliance.placement.site import own_keys, setting

THREADS = 8  # questions to the gateway under way at once


@dataclass
class Heads:
    """Asks the gateway at ``endpoint`` (an http URL) with a researcher's own keys: HEAD, over lasting connections.

    The gateway decides who may see an object. Its etag is what the placement service wants to hear before it tells
    where the object lies.
    """

    endpoint: str
    keys: Keys
    timeout: float = 5.0
    retry_after: float = 5.0  # seconds that a gateway is left alone for after it did not answer
    clock: Callable[[], float] = time.monotonic
    _own: threading.local = field(default_factory=threading.local)
    _failed: float = -1e9

    @classmethod
    def from_environment(cls) -> Heads:
        """Take endpoint and keys as all S3 clients do; raises ``PlacementUnavailable`` naming what is missing."""
        endpoint = setting("AWS_ENDPOINT_URL_S3") or setting("AWS_ENDPOINT_URL")
        if not endpoint or not endpoint.startswith("http://"):
            raise PlacementUnavailable(
                f"AWS_ENDPOINT_URL is {endpoint!r}: on the facility's machines it is http://127.0.0.1:7481"
            )
        return cls(endpoint, own_keys())

    def __call__(self, bucket: str, keys: Sequence[str]) -> list[Listed | None]:
        """Return what S3 says of each key; None of those that are not there, not allowed, or not answered for."""
        if len(keys) == 1:
            return [self._one(bucket, keys[0])]
        with ThreadPoolExecutor(min(THREADS, max(1, len(keys))), thread_name_prefix="heads") as threads:
            return list(threads.map(lambda key: self._one(bucket, key), keys))

    def _one(self, bucket: str, key: str) -> Listed | None:
        if self.clock() - self._failed < self.retry_after:
            return None
        host = urllib.parse.urlsplit(self.endpoint).netloc
        try:
            path = f"/{urllib.parse.quote(bucket, safe='')}/{urllib.parse.quote(key)}"
            headers = signed(self.keys, host, path, "", datetime.now(UTC), "HEAD")
            answer = self._asked(host, path, headers)
            if answer is None or answer.status != http.client.OK:
                return None
            return Listed(
                key=key,
                bytes=int(answer.headers["Content-Length"]),
                etag=answer.headers["ETag"].strip('"'),
                # RGW says nothing of the version of objects from before their bucket kept any.
                version=answer.headers.get("x-amz-version-id", NULL_VERSION),
                storage_class=answer.headers.get("x-amz-storage-class", STANDARD),
                modified=answer.headers.get("Last-Modified", ""),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None  # an answer that is none of S3's, or a key that UTF-8 cannot write

    def _asked(self, host: str, path: str, headers: dict[str, str]) -> http.client.HTTPResponse | None:
        for is_last in (False, True):
            connection = self._own.__dict__.setdefault("connection", None)
            fresh = connection is None
            try:
                if connection is None:
                    connection = self._own.connection = http.client.HTTPConnection(host, timeout=self.timeout)
                connection.request("HEAD", path, headers=headers)
                answer: http.client.HTTPResponse = connection.getresponse()
                answer.read()
                return answer
            except (OSError, http.client.HTTPException):
                self._own.connection = None
                if connection is not None:
                    connection.close()
                if fresh or is_last:  # a connection kept open may have been ended by the gateway in the meantime
                    self._failed = self.clock()
                    return None
        return None
