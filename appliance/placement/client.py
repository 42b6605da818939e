"""The client of the placement service: the newest map, at the price of a conditional request now and then."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.placement.errors import MapError, PlacementUnavailable
from appliance.placement.exchange import Answer, ask
from appliance.placement.layout import Layout
from appliance.placement.map import PlacementMap
from appliance.placement.signature import Keys
from appliance.placement.site import own_keys
from appliance.placement.tokens import Tokens

URL_VARIABLE = "APPLIANCE_PLACEMENT_URL"
SLOW = 10  # times the timeout that a whole answer may take


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
        self._host, self._port, self._root = _taken_apart(url)
        self._timeout, self._max_age, self._max_stale, self._retry_after = timeout, max_age, max_stale, retry_after
        self._clock = clock
        self._held: _Held | None = None
        self._failed: tuple[float, PlacementUnavailable] | None = None
        self._absent: dict[str, float] = {}  # buckets that the service did not know, and when it said so
        self._asking = threading.Lock()

    def get(self, bucket: str | None = None) -> PlacementMap:
        """Return the map, at most ``max_age`` seconds old where the service answers.

        A ``bucket`` that the map does not hold makes the service look for it, at most once in ``max_age`` seconds; it
        can be absent from the returned map all the same. Raises ``PlacementUnavailable`` when there is no map, or
        only one older than ``max_stale`` seconds.
        """
        held = self._held
        if held is not None and self._is_fresh(held, bucket):
            return held.map
        if held is None:
            self._asking.acquire()
        elif not self._asking.acquire(blocking=False):
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
            self._asking.release()

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
        except (OSError, http.client.HTTPException, MapError) as error:
            reason = PlacementUnavailable(f"the placement service at {self.url} gives no map: {_say(error)}")
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
        path = "/v1/map" + ("?" + urllib.parse.urlencode({"bucket": bucket}) if bucket is not None else "")
        answer = self._asked("GET", path, headers)
        if answer.status == http.client.NOT_MODIFIED and held is not None:
            return _Held(held.map, held.etag, self._clock())
        fetched = PlacementMap.from_json(_good(answer).parsed())
        if held is not None and self._is_older(fetched, held):
            raise MapError(f"its map is of epoch {fetched.epoch}, and it gave epoch {held.map.epoch} before")
        return _Held(fetched, answer.etag, self._clock())

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
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        try:
            document = _good(self._asked("POST", "/v1/layouts", headers, body)).parsed()
            listed = document.get("layouts") if isinstance(document, dict) else None
            if not isinstance(listed, list) or len(listed) != len(objects):
                raise MapError(f"it was asked for {len(objects)} layouts and sends something else")
            return [_layout(entry, etag) for entry, (_, _, etag) in zip(listed, objects, strict=True)]
        except (OSError, http.client.HTTPException, MapError) as error:
            raise PlacementUnavailable(
                f"the placement service at {self.url} gives no layouts: {_say(error)}"
            ) from error

    def _asked(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        answer = self._asked_once(method, path, headers | self._tokens.headers(), body)
        if answer.status == http.client.UNAUTHORIZED and not self._tokens.missing:
            # Keys may have been renewed since the token was made.
            answer = self._asked_once(method, path, headers | self._tokens.headers(refused=True), body)
        if answer.status == http.client.UNAUTHORIZED and self._tokens.missing:
            raise MapError(f"it answers users of the facility only, and {self._tokens.missing}")
        return answer

    def _asked_once(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            return ask(connection, method, self._root + path, headers, body, SLOW * self._timeout)
        finally:
            connection.close()


def _taken_apart(url: str) -> tuple[str, int, str]:
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, half an IPv6 address
        host = port = None
    if not host or parts.scheme != "http":
        raise PlacementUnavailable(
            f"{url!r} is no address of a placement service; set {URL_VARIABLE} to something like http://127.0.0.1:7483"
        )
    return host, port or http.client.HTTP_PORT, parts.path.rstrip("/")


def _good(answer: Answer) -> Answer:
    if answer.status != http.client.OK:
        raise MapError(f"it answered {answer.status} {answer.reason}: {answer.body[:200].decode(errors='replace')}")
    return answer


def _layout(document: object, etag: str) -> Layout | None:
    """Return one layout of an answer; one that contradicts itself, or is another object's, is as good as none."""
    try:
        layout = None if document is None else Layout.from_json(document)
    except MapError:
        return None
    return layout if layout is not None and layout.etag == etag.strip('"') else None


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
