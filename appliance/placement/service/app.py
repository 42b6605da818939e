"""The placement service: the map over HTTP, for schedulers and notebooks, and its metrics for operators.

``GET /v1/map``: the map as JSON, with an ETag; ``?bucket=NAME`` makes the service look for a bucket that it does not
know yet. ``POST /v1/layouts``: of which RADOS objects the named S3 objects are made, as ``{"layouts": [layout or null,
…]}`` (see ``layout_lookup.parse_request`` for the request). Both answer users of the facility only (see
``authentication``): 401 and why to others, 503 while nobody can say who it is. ``GET /healthz``: 200 while the map is
confirmed, 503 and why otherwise. ``GET /metrics``: Prometheus text.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import signal
import socket
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import prometheus_client
import tornado.httpserver
import tornado.web
from tornado.netutil import bind_sockets

from appliance.placement.auth.tokens import SCHEME
from appliance.placement.errors import ClusterError, PlacementUnavailable
from appliance.placement.http_api import LAYOUTS_PATH, MAP_PATH
from appliance.placement.model.layout_json import encode_layout
from appliance.placement.model.object_layout import Layout
from appliance.placement.service.authentication import Authenticator, TokenRefused
from appliance.placement.service.layout_lookup import LayoutLookup, RequestedObject, parse_request
from appliance.placement.service.map_refresher import MapRefresher
from appliance.placement.service.metrics import PlacementCollector

LOG = logging.getLogger(__name__)
MAX_REQUEST = 16 * 2**20  # bytes; a thousand keys, each escaped for JSON, fit
AUTHENTICATION_THREADS = 4  # questions to the gateway at once about who is asking
RETRY_AFTER = "2"  # seconds, for clients that come before the first map


@dataclass
class PlacementService:
    """The map and layouts over HTTP, or HTTPS with ``tls``. ``interval``: seconds between two looks at the cluster."""

    refresher: MapRefresher
    layouts: LayoutLookup
    authenticator: Authenticator
    interval: float = 3.0
    tls: ssl.SSLContext | None = None
    stale_after: float = 60.0  # seconds without an answer of the cluster that /healthz forgives
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        # One thread: the cluster is asked one question at a time, however many requests come in.
        self._map_thread = ThreadPoolExecutor(1, thread_name_prefix="map")
        # Another for layouts: objects that cannot be read must not keep the map from being refreshed.
        self._layouts_thread = ThreadPoolExecutor(1, thread_name_prefix="layouts")
        self._authentication_threads = ThreadPoolExecutor(AUTHENTICATION_THREADS, thread_name_prefix="authentication")
        collector = PlacementCollector(self.refresher, self.layouts, self.authenticator, self.answers)
        self.metrics = collector.registry()

    def application(self) -> tornado.web.Application:
        """Return the pages at their paths, each counted in ``answers`` by its class and status."""
        pages = [
            (MAP_PATH, MapPage),
            (LAYOUTS_PATH, LayoutsPage),
            ("/healthz", HealthPage),
            ("/metrics", MetricsPage),
        ]
        return tornado.web.Application(
            [(path, page, {"service": self}) for path, page in pages], log_function=self._count
        )

    async def look_up_bucket(self, bucket: str) -> None:
        """Look for a bucket, without holding up other requests."""
        await asyncio.get_running_loop().run_in_executor(self._map_thread, self.refresher.look_up, bucket)

    async def look_up_layouts(self, bucket: str, objects: list[RequestedObject]) -> list[Layout | None]:
        """Return objects' layouts, without holding up other requests."""
        if not self.refresher.holds(bucket):
            await self.look_up_bucket(bucket)
        loop, cluster_map = asyncio.get_running_loop(), self.refresher.current().map
        return await loop.run_in_executor(self._layouts_thread, self.layouts.look_up, cluster_map, bucket, objects)

    async def authenticate(self, header: str | None) -> str:
        """Return who asks, without holding up other requests; raises ``TokenRefused`` or ``ClusterError``."""
        user = self.authenticator.cached_user(header)
        if user is not None:
            return user
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._authentication_threads, self.authenticator.authenticate, header)

    async def run(self, address: str, port: int) -> None:
        """Serve until SIGTERM or SIGINT; raises ``OSError`` if the address cannot be bound."""
        server = tornado.httpserver.HTTPServer(self.application(), ssl_options=self.tls, max_body_size=MAX_REQUEST)
        server.add_sockets(bind_sockets(port, address))
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        reported: str | None = None
        await loop.run_in_executor(self._map_thread, self.refresher.refresh)
        # After the first look at the cluster, whatever came of it: where services are restarted one after the other,
        # the next waits until this one has a map.
        notify("READY=1")
        while not stop.is_set():
            if self.refresher.failure != reported:  # told once, not every few seconds
                reported = self.refresher.failure
                LOG.info("%s", reported or "the cluster answers")
            encoded = self.refresher.encoded
            notify(
                f"STATUS={reported or (encoded and f'epoch {encoded.map.epoch}, {len(encoded.map.buckets)} buckets')}"
            )
            try:
                await asyncio.wait_for(stop.wait(), self.interval)
            except TimeoutError:
                await loop.run_in_executor(self._map_thread, self.refresher.refresh)
        server.stop()
        self.close()

    def close(self) -> None:
        """End the threads and the connections to the cluster."""
        for threads in (self._map_thread, self._layouts_thread, self._authentication_threads):
            threads.shutdown()
        self.refresher.close()
        self.layouts.close()
        self.authenticator.close()

    def _count(self, handler: tornado.web.RequestHandler) -> None:
        self.answers[type(handler).__name__, handler.get_status()] += 1


class Page(tornado.web.RequestHandler):
    """What all pages share: the service, and errors as JSON."""

    def initialize(self, service: PlacementService) -> None:
        """Take what ``PlacementService.application`` gives to every page."""
        self.service = service

    def compute_etag(self) -> str | None:
        """Keep tornado from hashing every answer: only the map has an ETag, and it is made once."""
        return None

    def fail(self, status: int, why: Exception) -> None:
        """Answer with ``{"error": WHY}``; 503 says when to come again, 401 by which scheme to sign in."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        if status == http.client.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", RETRY_AFTER)
        if status == http.client.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", SCHEME)
        self.finish(json.dumps({"error": str(why)}))


class UsersPage(Page):
    """A page for users of the facility alone, see ``authentication``."""

    async def prepare(self) -> None:
        """Answer 401 to whoever is no user, and 503 while nobody can say; then tornado calls no ``get`` or ``post``."""
        try:
            await self.service.authenticate(self.request.headers.get("Authorization"))
        except TokenRefused as error:
            self.fail(http.client.UNAUTHORIZED, error)
        except ClusterError as error:
            self.fail(http.client.SERVICE_UNAVAILABLE, error)


class MapPage(UsersPage):
    """``/v1/map``: the whole map, see ``map_json``."""

    async def get(self) -> None:
        """Send the map, gzipped for whoever takes that; 304 if the caller has it, 503 if there is none to send."""
        refresher, bucket = self.service.refresher, self.get_query_argument("bucket", None)
        if bucket is not None and not refresher.holds(bucket):
            await self.service.look_up_bucket(bucket)
        try:
            encoded = refresher.current()
        except PlacementUnavailable as error:
            self.fail(http.client.SERVICE_UNAVAILABLE, error)
            return
        self.set_header("Content-Type", "application/json")
        self.set_header("ETag", encoded.etag)
        self.set_header("Cache-Control", "no-cache")  # keep it, but ask each time
        self.set_header("Vary", "Accept-Encoding")
        if encoded.etag in (tag.strip() for tag in self.request.headers.get("If-None-Match", "").split(",")):
            self.set_status(304)
            self.finish()
        elif "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.finish(encoded.gzipped)
        else:
            self.finish(encoded.body)


class LayoutsPage(UsersPage):
    """``/v1/layouts``: of which RADOS objects the named S3 objects are made, see ``layout_json``."""

    async def post(self) -> None:
        """Send each named object's layout, or null; 400 for a request that is none, 503 while there is no map."""
        try:
            bucket, objects = parse_request(json.loads(self.request.body))
            found = await self.service.look_up_layouts(bucket, objects)
        except (ValueError, RecursionError) as error:
            self.fail(http.client.BAD_REQUEST, error)
        except PlacementUnavailable as error:
            self.fail(http.client.SERVICE_UNAVAILABLE, error)
        else:
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"layouts": [layout and encode_layout(layout) for layout in found]}))


class HealthPage(Page):
    """``/healthz``: whether the map can be trusted, for anyone who asks."""

    def get(self) -> None:
        """Send 200 if the cluster confirmed the map within ``stale_after`` seconds, else 503; and what is wrong."""
        refresher, age = self.service.refresher, self.service.refresher.age()
        healthy = refresher.encoded is not None and age is not None and age <= self.service.stale_after
        self.set_status(200 if healthy else 503)
        self.set_header("Content-Type", "application/json")
        epoch = refresher.encoded.map.epoch if refresher.encoded else None
        failures = {"failure": refresher.failure, "layouts_failure": self.service.layouts.failure}
        failures["callers_failure"] = self.service.authenticator.failure
        self.finish(json.dumps({"healthy": healthy, "epoch": epoch, "age_seconds": age, **failures}))


class MetricsPage(Page):
    """``/metrics``: what ``metrics`` counts, for anyone who asks."""

    def get(self) -> None:
        """Send them as Prometheus' text."""
        self.set_header("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)
        self.finish(prometheus_client.generate_latest(self.service.metrics))


def notify(state: str) -> None:
    """Tell systemd, where it started us (sd_notify(3)); nowhere else is there anyone to tell."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(state.encode())
