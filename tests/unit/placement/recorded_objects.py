"""Objects whose manifests a real gateway has written, behind the manifest reader's socket and a gateway's port."""

import base64
import json
import socket
import threading
import urllib.parse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import http_serving
from example_map import document
from http_serving import serving

from appliance.placement import PlacementMap
from appliance.placement.model.map_json import decode_map
from appliance.placement.model.object_layout import Layout
from appliance.placement.model.rgw_manifest import decode_manifest
from appliance.placement.service.map_refresher import EncodedMap, MapRefresher

# Of each object: the attribute user.rgw.manifest, and what `radosgw-admin object manifest` says of it.
RECORDED = json.loads((Path(__file__).with_name("answers") / "gateway_manifests.json").read_text())
MIB = 2**20
RULES = {"default-placement": "data", "default-placement/COLD": "cold"}


def pool_of(rule: str, explicit: str) -> int | None:
    """Return the number of the recorded objects' pool, by its placement rule."""
    return 7 if rule.partition("/")[0] == "default-placement" and not explicit else None


def decoded(entry: dict[str, Any]) -> Layout:
    """Return the layout of a recorded object, from its manifest."""
    return decode_manifest(base64.b64decode(entry["manifest"]), entry["etag"], 7, pool_of)


def recorded_map() -> PlacementMap:
    """A map that has the buckets of the recorded manifests."""
    whole = document()
    for entry in RECORDED:
        whole["buckets"][entry["bucket"]] = {
            "marker": entry["marker"],
            "pool": 7,
            "placement": "default-placement",
            "versioned": entry["bucket"] != "alice",
        }
    return decode_map(whole)


class Storage:
    """The manifest reader's socket and a gateway's port over the recorded objects; both count what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.path, self.asked, self.looked_up = folder / "socket", [], []
        self.fault = ""
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self._serving = ExitStack()
        self.port = self._serving.enter_context(serving(self._handler()))

    def close(self) -> None:
        self._serving.close()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                channel = self._listening.accept()[0]
            except OSError:
                return
            with channel, channel.makefile("rw") as lines:
                for line in lines:
                    if self.fault == "dies":
                        break
                    self.asked += json.loads(line)["objects"]
                    answer = {"manifests": [self._manifest(*entry) for entry in json.loads(line)["objects"]]}
                    lines.write(("{" if self.fault == "babbles" else json.dumps(answer)) + "\n")
                    lines.flush()

    def _manifest(self, pool: str, name: str, locator: str, etag: str) -> str | None:
        for entry in RECORDED:
            known = [row for row in entry["objects"] if row[0] == 0 and row[2:] == [name, locator]]
            if known and pool == "data" and entry["etag"] == etag.strip('"'):
                return "AAAA" if self.fault == "garbage" else str(entry["manifest"])
        return None

    def _handler(self) -> type[http_serving.Handler]:
        storage = self

        class Handler(http_serving.Handler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                _, bucket, key = urllib.parse.unquote(self.path).split("/", 2)
                storage.looked_up.append(key)
                found = next((one for one in RECORDED if (one["bucket"], one["key"]) == (bucket, key)), None)
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(found["size"] if found else 0))
                if found:
                    self.send_header("ETag", f'"{found["etag"]}"')
                    if found["version"] not in ("", "null"):
                        self.send_header("x-amz-version-id", found["version"])
                self.end_headers()

        return Handler


class FixedMap(MapRefresher):
    """A map that is never refreshed."""

    def __init__(self) -> None:
        self.encoded = EncodedMap.of(recorded_map())

    def look_up(self, bucket: str) -> None:
        """There are no others."""

    def close(self) -> None:
        """Nothing is open."""
