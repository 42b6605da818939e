"""The objects whose manifests were recorded from a real gateway, behind a reader's socket and a gateway's port."""

import http.server
import json
import socket
import threading
import urllib.parse
from pathlib import Path
from typing import Any

from example_map import document

from appliance.placement import PlacementMap
from appliance.placement.keeper import Keeper, Packed

RECORDED = json.loads((Path(__file__).with_name("answers") / "gateway_manifests.json").read_text())
MIB = 2**20
RULES = {"default-placement": "data", "default-placement/COLD": "cold"}


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
    return PlacementMap.from_json(whole)


class Storage:
    """A reader's socket and a gateway's port over the recorded objects; both count what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.path, self.asked, self.heads = folder / "socket", [], []
        self.fault = ""
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._threads.append(threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()

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

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        storage = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                _, bucket, key = urllib.parse.unquote(self.path).split("/", 2)
                storage.heads.append(key)
                found = next((one for one in RECORDED if (one["bucket"], one["key"]) == (bucket, key)), None)
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(found["size"] if found else 0))
                if found:
                    self.send_header("ETag", f'"{found["etag"]}"')
                    if found["version"] not in ("", "null"):
                        self.send_header("x-amz-version-id", found["version"])
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Keep the test's output clean."""

        return Handler


class FixedMap(Keeper):
    """A keeper whose cluster never changes."""

    def __init__(self) -> None:
        self.packed = Packed.of(recorded_map())

    def find(self, bucket: str) -> None:
        """There are no others."""
