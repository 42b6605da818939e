"""Objects' layouts: from keys and etags to manifests, which the manifest reader hands out, decoded."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from appliance.placement.errors import ClusterError, MapError, UnknownPlace
from appliance.placement.http_api import MAX_OBJECTS
from appliance.placement.model.object_layout import Layout
from appliance.placement.model.placement_map import STANDARD, PlacementMap
from appliance.placement.model.rados_names import locator, rados_name
from appliance.placement.model.rgw_manifest import decode_manifest

MAX_TEXT = 4096  # bytes of one of its texts; a key has at most 1,024


class RequestedObject(NamedTuple):
    """An object whose layout is wanted: its version id is empty where its bucket keeps none."""

    key: str
    version: str
    etag: str


def parse_request(document: object) -> tuple[str, list[RequestedObject]]:
    """Return bucket and objects of a request ``{"bucket": NAME, "objects": [[key, version, etag], …]}``.

    Raises ``ValueError`` with what is wrong with it.
    """
    if not isinstance(document, dict) or not isinstance(document.get("bucket"), str):
        raise ValueError("a request is an object with a bucket's name in `bucket` and objects in `objects`")
    listed = document.get("objects")
    if not isinstance(listed, list) or len(listed) > MAX_OBJECTS:
        raise ValueError(f"objects is no list of at most {MAX_OBJECTS} entries")
    for place, entry in enumerate(listed):
        if not isinstance(entry, list) or len(entry) != len(RequestedObject._fields):
            raise ValueError(f"objects[{place}] is not [key, version, etag]")
        if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in entry):
            raise ValueError(f"objects[{place}] holds something else than texts of at most {MAX_TEXT} characters")
    return document["bucket"], [RequestedObject(*entry) for entry in listed]


@dataclass
class ManifestSocket:
    """A lasting connection to the socket of ``rados_helpers/manifest_reader.py``, for one thread.

    It is made when first needed, and anew after a failure.
    """

    path: Path
    timeout: float = 15.0  # seconds for one question
    _channel: socket.socket | None = None
    _pending: bytes = b""

    def read(self, objects: Sequence[tuple[str, str, str, str]]) -> list[bytes | None]:
        """Return the manifest of each (pool, name, locator, etag), or raise ``ClusterError``."""
        try:
            if self._channel is None:
                self._channel, self._pending = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), b""
                self._channel.settimeout(self.timeout)
                self._channel.connect(str(self.path))
            self._channel.sendall(json.dumps({"objects": objects}).encode() + b"\n")
            pieces = []
            while b"\n" not in self._pending:
                pieces.append(self._pending)
                self._pending = self._channel.recv(2**20)
                if not self._pending:
                    raise ClusterError(f"the manifest reader at {self.path} ended: see its journal")
            rest, _, self._pending = self._pending.partition(b"\n")
            found = json.loads(b"".join([*pieces, rest]))["manifests"]
            if len(found) != len(objects):
                raise ClusterError(
                    f"the manifest reader at {self.path} was asked for {len(objects)} and told {len(found)}"
                )
            return [None if one is None else base64.b64decode(one) for one in found]
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise ClusterError(f"the manifest reader at {self.path}: {error or type(error).__name__}") from error
        except ClusterError:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._channel is not None:
            self._channel.close()
        self._channel, self._pending = None, b""


@dataclass
class LayoutLookup:
    """Knows objects' layouts. ``data_pools``: the pool's name of each placement rule of the zone."""

    manifests: ManifestSocket
    data_pools: Mapping[str, str]
    failure: str | None = None  # why the last question was not answered
    counts: dict[str, int] = field(default_factory=lambda: {"found": 0, "unknown": 0, "failed": 0})

    def look_up(
        self, cluster_map: PlacementMap, bucket: str, objects: Sequence[RequestedObject]
    ) -> list[Layout | None]:
        """Return the layout of each object, None where there is none to be had; never raises."""
        try:
            owner, pool = cluster_map.bucket(bucket), cluster_map.pool_of(bucket)
            asked = []
            for key, version, etag in objects:
                name, place = (form(owner.marker, key, version) for form in (rados_name, locator))
                asked.append((pool.name, name, "" if place == name else place, etag))
            found = self.manifests.read(asked)
        except (ClusterError, UnknownPlace) as error:
            self.failure = str(error)
            self.counts["failed"] += len(objects)
            return [None] * len(objects)
        self.failure = None
        layouts = [
            self._decoded(cluster_map, manifest, one.etag, pool.id)
            for manifest, one in zip(found, objects, strict=True)
        ]
        unknown = layouts.count(None)
        self.counts["unknown"] += unknown
        self.counts["found"] += len(layouts) - unknown
        return layouts

    def close(self) -> None:
        """End the connection to the manifest reader."""
        self.manifests.close()

    def _decoded(self, cluster_map: PlacementMap, manifest: bytes | None, etag: str, pool: int) -> Layout | None:
        def pool_of(rule: str, explicit: str) -> int | None:
            name = explicit or self.data_pools.get(rule) or self.data_pools.get(rule.removesuffix(f"/{STANDARD}"))
            return next((known.id for known in cluster_map.pools.values() if known.name == name), None)

        try:
            return None if manifest is None else decode_manifest(manifest, etag.strip('"'), pool, pool_of)
        except MapError as error:
            self.failure = str(error)
            return None
