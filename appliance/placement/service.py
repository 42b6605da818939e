"""The placement service: the map over HTTP, for schedulers and notebooks, and its metrics for operators.

``GET /v1/map``: the map as JSON, with an ETag; ``?bucket=NAME`` makes the service look for a bucket that it does not
know yet. ``POST /v1/layouts``: of which RADOS objects the named S3 objects are made (see ``layouts.wanted`` for the
request), as ``{"layouts": [layout or null, …]}``. Both answer users of the facility only (see ``callers``): 401 and why
to others, 503 while nobody can say who it is. ``GET /healthz``: 200 while the map is confirmed, 503 and why otherwise.
``GET /metrics``: Prometheus text.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import tornado.httpserver
import tornado.web
from tornado.netutil import bind_sockets

from appliance.placement.callers import Callers, Refused
from appliance.placement.errors import ClusterError, PlacementUnavailable
from appliance.placement.keeper import Keeper
from appliance.placement.layout import Layout
from appliance.placement.layouts import Layouts, Wanted, wanted
from appliance.placement.tokens import SCHEME

LOG = logging.getLogger(__name__)
MAX_REQUEST = 16 * 2**20  # bytes; a thousand keys, each escaped for JSON, fit
DOORS = 4  # questions to the gateway at once about who is asking
RETRY_AFTER = "2"  # seconds, for clients that come before the first map


@dataclass
class Service:
    """A keeper with its HTTP face. ``interval``: seconds between two looks at the cluster."""

    keeper: Keeper
    layouts: Layouts
    callers: Callers
    interval: float = 3.0
    stale_after: float = 60.0  # seconds without an answer of the cluster that /healthz forgives
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        # One thread: the cluster is asked one question at a time, however many requests come in.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        # Another for layouts: objects that cannot be read must not keep the map from being refreshed.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="layouts")
        self._door = ThreadPoolExecutor(DOORS, thread_name_prefix="callers")

    def application(self) -> tornado.web.Application:
        """Return the pages."""
        pages = [
            ("/v1/map", MapPage),
            ("/v1/layouts", LayoutsPage),
            ("/healthz", HealthPage),
            ("/metrics", MetricsPage),
        ]
        return tornado.web.Application(
            [(path, page, {"service": self}) for path, page in pages], log_function=self._count
        )

    async def find(self, bucket: str) -> None:
        """Look for a bucket, without holding up other requests."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self.keeper.find, bucket)

    async def read(self, bucket: str, objects: list[Wanted]) -> list[Layout | None]:
        """Return objects' layouts, without holding up other requests."""
        if not self.keeper.holds(bucket):
            await self.find(bucket)
        loop, cluster_map = asyncio.get_running_loop(), self.keeper.current().map
        return await loop.run_in_executor(self._reader, self.layouts.read, cluster_map, bucket, objects)

    async def admit(self, header: str | None) -> str:
        """Return who asks, without holding up other requests; raises ``Refused`` or ``ClusterError``."""
        known = self.callers.known(header)
        if known is not None:
            return known
        return await asyncio.get_running_loop().run_in_executor(self._door, self.callers.ask, header)

    async def run(self, address: str, port: int) -> None:
        """Serve until SIGTERM or SIGINT; raises ``OSError`` if the address cannot be bound."""
        server = tornado.httpserver.HTTPServer(self.application(), max_body_size=MAX_REQUEST)
        server.add_sockets(bind_sockets(port, address))
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        reported: str | None = None
        await loop.run_in_executor(self._worker, self.keeper.refresh)
        # After the first look at the cluster, whatever came of it: where services are restarted one after the other,
        # the next waits until this one has a map.
        notify("READY=1")
        while not stop.is_set():
            if self.keeper.failure != reported:  # told once, not every few seconds
                reported = self.keeper.failure
                LOG.info("%s", reported or "the cluster answers")
            packed = self.keeper.packed
            notify(f"STATUS={reported or (packed and f'epoch {packed.map.epoch}, {len(packed.map.buckets)} buckets')}")
            try:
                await asyncio.wait_for(stop.wait(), self.interval)
            except TimeoutError:
                await loop.run_in_executor(self._worker, self.keeper.refresh)
        server.stop()
        self.close()

    def close(self) -> None:
        """End the threads and the connections to the cluster."""
        self._worker.shutdown()
        self._reader.shutdown()
        self._door.shutdown()
        self.keeper.monitors.close()
        self.layouts.reader.close()

    def _count(self, handler: tornado.web.RequestHandler) -> None:
        self.answers[type(handler).__name__, handler.get_status()] += 1


class Page(tornado.web.RequestHandler):
    """A page that knows the service."""

    def initialize(self, service: Service) -> None:
        self.service = service

    def compute_etag(self) -> str | None:
        """Keep tornado from hashing every answer: only the map has an ETag, and it is made once."""
        return None

    def fail(self, status: int, why: Exception) -> None:
        """Answer with an error."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        if status == http.client.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", RETRY_AFTER)
        if status == http.client.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", SCHEME)
        self.finish(json.dumps({"error": str(why)}))


class UsersPage(Page):
    """A page for users of the facility."""

    async def prepare(self) -> None:
        try:
            await self.service.admit(self.request.headers.get("Authorization"))
        except Refused as error:
            self.fail(http.client.UNAUTHORIZED, error)
        except ClusterError as error:
            self.fail(http.client.SERVICE_UNAVAILABLE, error)


class MapPage(UsersPage):
    """The map, whole or as 304."""

    async def get(self) -> None:
        keeper, bucket = self.service.keeper, self.get_query_argument("bucket", None)
        if bucket is not None and not keeper.holds(bucket):
            await self.service.find(bucket)
        try:
            packed = keeper.current()
        except PlacementUnavailable as error:
            self.fail(http.client.SERVICE_UNAVAILABLE, error)
            return
        self.set_header("Content-Type", "application/json")
        self.set_header("ETag", packed.etag)
        self.set_header("Cache-Control", "no-cache")  # keep it, but ask each time
        self.set_header("Vary", "Accept-Encoding")
        if packed.etag in (tag.strip() for tag in self.request.headers.get("If-None-Match", "").split(",")):
            self.set_status(304)
            self.finish()
        elif "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.finish(packed.zipped)
        else:
            self.finish(packed.body)


class LayoutsPage(UsersPage):
    """Layouts of named objects."""

    async def post(self) -> None:
        try:
            bucket, objects = wanted(json.loads(self.request.body))
            found = await self.service.read(bucket, objects)
        except (ValueError, RecursionError) as error:
            self.fail(http.client.BAD_REQUEST, error)
        except PlacementUnavailable as error:
            self.fail(http.client.SERVICE_UNAVAILABLE, error)
        else:
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"layouts": [layout and layout.to_json() for layout in found]}))


class HealthPage(Page):
    """Whether the map can be trusted."""

    def get(self) -> None:
        keeper, age = self.service.keeper, self.service.keeper.age()
        healthy = keeper.packed is not None and age is not None and age <= self.service.stale_after
        self.set_status(200 if healthy else 503)
        self.set_header("Content-Type", "application/json")
        epoch = keeper.packed.map.epoch if keeper.packed else None
        failures = {"failure": keeper.failure, "layouts_failure": self.service.layouts.failure}
        failures["callers_failure"] = self.service.callers.failure
        self.finish(json.dumps({"healthy": healthy, "epoch": epoch, "age_seconds": age, **failures}))


class MetricsPage(Page):
    """Prometheus' text format; few enough figures to be written by hand."""

    def get(self) -> None:
        keeper, packed = self.service.keeper, self.service.keeper.packed
        lines = []

        def metric(name: str, kind: str, text: str, *samples: tuple[str, float]) -> None:
            lines.append(f"# HELP appliance_placement_{name} {text}\n# TYPE appliance_placement_{name} {kind}")
            lines.extend(f"appliance_placement_{name}{labels} {value:g}" for labels, value in samples)

        if packed:
            cluster_map = packed.map
            groups = sum(pool.pg_num for pool in cluster_map.pools.values())
            metric("epoch", "gauge", "Epoch of the OSD map that is handed out.", ("", cluster_map.epoch))
            metric("buckets", "gauge", "Buckets in the map.", ("", len(cluster_map.buckets)))
            metric("groups", "gauge", "Placement groups in the map.", ("", groups))
            metric("map_bytes", "gauge", "Size of the map as JSON.", ("", len(packed.body)))
        age = keeper.age()
        if age is not None:
            metric("age_seconds", "gauge", "Seconds since the cluster confirmed the map.", ("", age))
        metric("refresh_seconds", "gauge", "Duration of the last look at the cluster.", ("", keeper.seconds))
        metric("failures_total", "counter", "Looks at the cluster that failed.", ("", keeper.failures))
        counts = [(f'{{result="{result}"}}', count) for result, count in self.service.layouts.counts.items()]
        metric("layouts_total", "counter", "Objects whose layout was asked for.", *counts)
        counts = [(f'{{result="{result}"}}', count) for result, count in self.service.callers.counts.items()]
        metric("tokens_total", "counter", "Callers' tokens that the gateway was asked about.", *counts)
        answers = sorted(self.service.answers.items())
        samples = [(f'{{page="{page}",status="{status}"}}', count) for (page, status), count in answers]
        metric("answers_total", "counter", "Answers to clients.", *samples)
        self.set_header("Content-Type", "text/plain; version=0.0.4")
        self.finish("\n".join(lines) + "\n")


def notify(state: str) -> None:
    """Tell systemd, where it started us (sd_notify(3)); nowhere else is there anyone to tell."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(state.encode())
