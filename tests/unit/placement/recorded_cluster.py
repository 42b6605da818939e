"""A cluster's answers, recorded from a real one (folder ``answers``), played back over the same two ways.

The monitors' and the manager's answers come from a program that speaks as
appliance/placement/service/rados_helpers/monitor.py does, the gateway's from a loopback HTTP server. What is under
test is everything between these answers and a client of the service. That a living cluster answers so is what
tests/rack/test_placement.py looks at.
"""

import json
import shutil
import sys
import urllib.parse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import http_serving
from http_serving import serving

from appliance.placement.auth.sigv4 import Keys
from appliance.placement.service.ceph_monitors import CephClientOptions, Monitors
from appliance.placement.service.rgw_admin import RgwAdmin

ANSWERS = Path(__file__).with_name("answers")
CHUNK = 64 * 2**20
DATA_POOLS = {"default-placement": "default.rgw.buckets.data"}

# `FILE.fault` beside an answer: what happens instead of it.
PLAYER = """#!{python}
import json, pathlib, sys, time
answers = pathlib.Path({folder!r})
def play(name):
    (answers / "asked").open("a").write(name + chr(10))
    fault = answers / (name + ".fault")
    return fault.read_text() if fault.exists() else ""
fault = play("connect")
if fault:
    sys.exit(fault)
print('{{"ready": true}}', flush=True)
for line in sys.stdin:
    question = json.loads(line)
    name = question["to"] + "_" + question["command"]["prefix"].replace(" ", "_")
    fault = play(name)
    if fault == "die":
        sys.exit("rados: connection lost")
    if fault == "silence":
        sys.stdin.read()  # until whoever asks has given up
    out = "" if fault else (answers / (name + ".json")).read_text()
    print(json.dumps({{"code": 13 if fault else 0, "out": out, "status": fault}}), flush=True)
"""


class RecordedCluster:
    """A folder of answers that a test may change, and what gives them."""

    def __init__(self, folder: Path, timeout: int = 5) -> None:
        self.folder = folder / "answers"
        shutil.copytree(ANSWERS, self.folder)
        player = folder / "player"
        player.write_text(PLAYER.format(python=sys.executable, folder=str(self.folder)))
        player.chmod(0o755)
        options = CephClientOptions("placement", folder / "ceph.conf", folder / "keyring", str(player), timeout)
        self.monitors = Monitors(options)
        self._serving = ExitStack()
        port = self._serving.enter_context(serving(self._handler()))
        endpoint = f"http://127.0.0.1:{port}"
        self.rgw = RgwAdmin(endpoint, Keys("access", "secret"), DATA_POOLS)

    def close(self) -> None:
        """End what was started."""
        self.monitors.close()
        self.rgw.close()
        self._serving.close()

    def read(self, name: str) -> Any:
        """Return an answer, parsed."""
        return json.loads((self.folder / f"{name}.json").read_text())

    def write(self, name: str, answer: Any) -> None:
        """Replace an answer."""
        (self.folder / f"{name}.json").write_text(json.dumps(answer))

    def fail(self, name: str, fault: str) -> None:
        """Let a question fail with these words (or ``die``, or ``silence``); with no words, succeed again."""
        path = self.folder / f"{name}.fault"
        if fault:
            path.write_text(fault)
        else:
            path.unlink()

    def asked(self) -> list[str]:
        """Return what was asked since the last call."""
        path = self.folder / "asked"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    def _handler(self) -> type[http_serving.Handler]:
        cluster = self

        class Handler(http_serving.Handler):
            def do_GET(self) -> None:
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                name = query.get("bucket")
                with (cluster.folder / "asked").open("a") as asked:
                    asked.write(f"gateway_{name or 'names'}\n")
                buckets = cluster.read("gateway_buckets")
                if (cluster.folder / "gateway.fault").exists():
                    self._answer(403, {"Code": (cluster.folder / "gateway.fault").read_text()})
                elif name is None:
                    self._answer(200, list(buckets))
                elif name in buckets:
                    self._answer(200, buckets[name])
                else:
                    self._answer(404, {"Code": "NoSuchBucket"})

            def _answer(self, status: int, document: Any) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

        return Handler
