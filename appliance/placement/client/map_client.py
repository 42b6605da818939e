"""The client of the placement service: the newest map, at the price of a conditional request now and then."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.placement.auth.machine_settings import own_keys
from appliance.placement.auth.sigv4 import Keys
from appliance.placement.auth.tokens import Tokens
from appliance.placement.errors import HttpError, MapError, PlacementUnavailable
from appliance.placement.http_api import LAYOUTS_PATH, MAP_PATH
from appliance.placement.http_endpoint import HttpEndpoint, HttpResponse
from appliance.placement.model.layout_json import decode_layout
from appliance.placement.model.map_json import decode_map
from appliance.placement.model.object_layout import Layout
from appliance.placement.model.placement_map import PlacementMap

URL_VARIABLE = "APPLIANCE_PLACEMENT_URL"


@dataclass(frozen=True)
class _Held:
    map: PlacementMap
    etag: str | None
    checked: float  # time.monotonic of the last answer that confirmed it


class MapClient:
    """Fetches the map from ``url`` and keeps it. Threads may share one client.

    ``get`` asks again once the map is ``max_age`` seconds old; an unchanged map costs an answer without a body. While
    one thread asks, others get the map that there is. When the service does not answer, the last map stands in for
    ``max_stale`` seconds: an old map costs a few remote reads, none at all makes all reads random. After a failure
    the service is left alone for ``retry_after`` seconds, so that a caller in a hurry pays the timeout once.

    A map of the same cluster with a smaller epoch than the one held is what a service that lags behind sends, or one
    that was given an old map. It is not taken until the newer one has become too old. (The facility runs several
    services, which hear of a new epoch within seconds of each other.)

    The service answers users of the facility only: ``keys`` gives the caller's S3 keys, which sign a token. They are
    not sent.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 2.0,
        max_age: float = 5.0,
        max_stale: float = 600.0,
        retry_after: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        keys: Callable[[], Keys] = own_keys,
    ) -> None:
        self.url = url
        self._tokens = Tokens(keys)
        self._server, self._root = _server(url, timeout)
        self._max_age, self._max_stale, self._retry_after = max_age, max_stale, retry_after
        self._clock = clock
        self._held: _Held | None = None
        self._failed: tuple[float, PlacementUnavailable] | None = None
        self._absent: dict[str, float] = {}  # buckets that the service did not know, and when it said so
        self._locks: dict[int, threading.Lock] = {}

    def get(self, bucket: str | None = None) -> PlacementMap:
        """Return the map, at most ``max_age`` seconds old where the service answers.

        A ``bucket`` that the map does not hold makes the service look for it, at most once in ``max_age`` seconds; it
        can be absent from the returned map all the same. Raises ``PlacementUnavailable`` when there is no map, or
        only one older than ``max_stale`` seconds.
        """
        held = self._held
        if held is not None and self._is_fresh(held, bucket):
            return held.map
        asking = self._lock()
        if held is None:
            asking.acquire()
        elif not asking.acquire(blocking=False):
            return self._fallback(held)
        try:
            held = self._held  # another thread may have fetched it while this one waited
            if held is None or not self._is_fresh(held, bucket):
                held = self._ask(held, bucket)
            return held.map
        except PlacementUnavailable as error:
            if self._held is None:
                raise
            return self._fallback(self._held, error)
        finally:
            asking.release()

    def _lock(self) -> threading.Lock:
        """Return the lock of whoever asks in this process: one that a thread of a forked one's parent held stays so."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _is_fresh(self, held: _Held, bucket: str | None) -> bool:
        now = self._clock()
        if now - held.checked >= self._max_age:
            return False
        return bucket is None or held.map.holds(bucket) or now - self._absent.get(bucket, -1e9) < self._max_age

    def _fallback(self, held: _Held, why: PlacementUnavailable | None = None) -> PlacementMap:
        age = self._clock() - held.checked
        if age <= self._max_stale:
            return held.map
        raise PlacementUnavailable(
            f"the map of epoch {held.map.epoch} was confirmed {age:.0f} s ago, which is too old to place by"
            + (f"; {why}" if why else "")
        )

    def _ask(self, held: _Held | None, bucket: str | None) -> _Held:
        if self._failed and self._clock() - self._failed[0] < self._retry_after:
            # Raised anew: re-raising the old one would make its traceback longer every time.
            raise PlacementUnavailable(str(self._failed[1]))
        try:
            fetched = self._fetch(held, bucket)
        except (HttpError, MapError) as error:
            reason = PlacementUnavailable(f"the placement service at {self.url} gives no map: {error}")
            self._failed = (self._clock(), reason)
            raise reason from error
        self._failed = None
        self._held = fetched
        if bucket is not None and not fetched.map.holds(bucket):
            young = {name: at for name, at in self._absent.items() if fetched.checked - at < self._max_age}
            self._absent = {**young, bucket: fetched.checked}
        return fetched

    def _fetch(self, held: _Held | None, bucket: str | None) -> _Held:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if held is not None and held.etag:
            headers["If-None-Match"] = held.etag
        path = MAP_PATH + ("?" + urllib.parse.urlencode({"bucket": bucket}) if bucket is not None else "")
        response = self._ask_as_user("GET", path, headers)
        if response.status == http.client.NOT_MODIFIED and held is not None:
            return _Held(held.map, held.etag, self._clock())
        fetched = decode_map(_ok(response).json())
        if held is not None and self._is_older(fetched, held):
            raise MapError(f"its map is of epoch {fetched.epoch}, and it gave epoch {held.map.epoch} before")
        return _Held(fetched, response.headers.get("ETag"), self._clock())

    def _is_older(self, fetched: PlacementMap, held: _Held) -> bool:
        if self._clock() - held.checked > self._max_stale:
            return False  # no newer one came for so long that the cluster itself must have been set back
        return fetched.cluster == held.map.cluster and fetched.epoch < held.map.epoch

    def layouts(self, bucket: str, objects: Sequence[tuple[str, str, str]]) -> list[Layout | None]:
        """Return the layout of each object, named by key, version id (or empty) and etag; None where it is unknown.

        Of a thousand objects at most. Asks every time: whoever needs a layout again remembers it by the etag, as
        ``Ranges`` does. Raises ``PlacementUnavailable``.
        """
        body = json.dumps({"bucket": bucket, "objects": [list(entry) for entry in objects]}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            document = _ok(self._ask_as_user("POST", LAYOUTS_PATH, headers, body)).json()
            listed = document.get("layouts") if isinstance(document, dict) else None
            if not isinstance(listed, list) or len(listed) != len(objects):
                raise MapError(f"it was asked for {len(objects)} layouts and sends something else")
            return [_layout(entry, etag) for entry, (_, _, etag) in zip(listed, objects, strict=True)]
        except (HttpError, MapError) as error:
            raise PlacementUnavailable(f"the placement service at {self.url} gives no layouts: {error}") from error

    def _ask_as_user(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> HttpResponse:
        path = self._root + path
        response = self._server.request(method, path, headers | self._tokens.headers(), body)
        if response.status == http.client.UNAUTHORIZED and not self._tokens.missing:
            # Keys may have been renewed since the token was made.
            response = self._server.request(method, path, headers | self._tokens.headers(refused=True), body)
        if response.status == http.client.UNAUTHORIZED and self._tokens.missing:
            raise HttpError(f"it answers users of the facility only, and {self._tokens.missing}")
        return response


def _server(url: str, timeout: float) -> tuple[HttpEndpoint, str]:
    """Return the service's server, and what its paths begin with."""
    try:
        # A connection for each question: the balancer on the way takes another service only where a new one fails.
        return HttpEndpoint(url, timeout, keep_alive=False), urllib.parse.urlsplit(url).path.rstrip("/")
    except ValueError as error:
        raise PlacementUnavailable(
            f"{url!r} is no address of a placement service; set {URL_VARIABLE} to something like http://HOST:PORT"
        ) from error


def _ok(response: HttpResponse) -> HttpResponse:
    if response.status != http.client.OK:
        why = response.body[:200].decode(errors="replace")
        raise HttpError(f"it answered {response.status} {response.reason}: {why}")
    return response


def _layout(document: object, etag: str) -> Layout | None:
    """Return one layout of an answer; one that contradicts itself, or is another object's, is as good as none."""
    try:
        layout = None if document is None else decode_layout(document)
    except MapError:
        return None
    return layout if layout is not None and layout.etag == etag.strip('"') else None
