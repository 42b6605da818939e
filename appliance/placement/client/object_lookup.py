"""What S3 says of single objects, asked with the keys of whoever wants to read them."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.placement.auth.machine_settings import SETTINGS, own_keys, setting
from appliance.placement.auth.sigv4 import Keys, signed_headers
from appliance.placement.client.listing import S3Object
from appliance.placement.errors import HttpError, PlacementUnavailable
from appliance.placement.http_endpoint import CONNECTIONS, HttpEndpoint, HttpResponse, address_of
from appliance.placement.model.placement_map import STANDARD
from appliance.placement.model.rados_names import NULL_VERSION


@dataclass
class ObjectLookup:
    """Asks the S3 gateway at ``endpoint`` (an http URL) with a researcher's own keys, by S3's HeadObject.

    The gateway decides who may see an object. Its etag is what the placement service wants to hear before it tells
    where the object lies. Threads may share one.
    """

    endpoint: str
    keys: Keys
    timeout: float = 5.0
    retry_after: float = 5.0  # seconds that a gateway is left alone for after it did not answer
    clock: Callable[[], float] = time.monotonic
    _server: HttpEndpoint = field(init=False)
    _failed: float = -1e9

    def __post_init__(self) -> None:
        self._server = HttpEndpoint(self.endpoint, self.timeout)

    @classmethod
    def from_environment(cls) -> ObjectLookup:
        """Take endpoint and keys as all S3 clients do; raises ``PlacementUnavailable`` naming what is missing."""
        endpoint = setting("AWS_ENDPOINT_URL_S3") or setting("AWS_ENDPOINT_URL") or ""
        try:
            address_of(endpoint)
        except ValueError as error:
            raise PlacementUnavailable(
                f"AWS_ENDPOINT_URL is {endpoint!r}: on the facility's machines it stands in {SETTINGS}"
            ) from error
        return cls(endpoint, own_keys())

    def __call__(self, bucket: str, keys: Sequence[str]) -> list[S3Object | None]:
        """Return what S3 says of each key; None of those that are not there, not allowed, or not answered for."""
        if len(keys) == 1:
            return [self._one(bucket, keys[0])]
        with ThreadPoolExecutor(min(CONNECTIONS, max(1, len(keys))), thread_name_prefix="object-lookup") as threads:
            return list(threads.map(lambda key: self._one(bucket, key), keys))

    def close(self) -> None:
        """End the connections."""
        self._server.close()

    def _one(self, bucket: str, key: str) -> S3Object | None:
        if self.clock() - self._failed < self.retry_after:
            return None
        try:
            response = self._ask(f"/{urllib.parse.quote(bucket, safe='')}/{urllib.parse.quote(key)}")
            if response.status != http.client.OK:
                return None
            return S3Object(
                key=key,
                bytes=int(response.headers["Content-Length"]),
                etag=response.headers["ETag"].strip('"'),
                # RGW says nothing of the version of objects from before their bucket kept any.
                version=response.headers.get("x-amz-version-id", NULL_VERSION),
                storage_class=response.headers.get("x-amz-storage-class", STANDARD),
                modified=response.headers.get("Last-Modified", ""),
            )
        except HttpError:
            self._failed = self.clock()
            return None
        except (KeyError, ValueError):
            return None  # an answer that is none of S3's, or a key that UTF-8 cannot write

    def _ask(self, path: str) -> HttpResponse:
        headers = signed_headers(self.keys, "HEAD", self._server.host, path, datetime.now(UTC))
        return self._server.request("HEAD", path, headers)
