"""Reads objects' manifests, and hands them to whoever can name the object's etag: a line of JSON in, a line out.

Why a program of its own: which stripes an object has is written in its head in RADOS and nowhere else. The gateway
tells it to system users only, who may do anything; its admin API, GetObjectAttributes and HEAD know parts and sizes but
not what they are called. A key of Ceph's that may read a pool can read the manifest, but its capabilities know no
difference between attributes and data. So that key belongs to this program, which can do nothing but look up two
attributes, and the placement service, which talks to the network, has none that reads a byte. systemd starts it for a
connection to a Unix socket that only the placement service can open (role ``placement``).

It asks for the etag because names are easily guessed: who knows an object's etag has been allowed to see it by the
gateway, so nobody learns from a layout that a stranger's object exists.

A question is ``{"objects": [[pool, name, locator, etag], …]}``, where the locator is empty if RGW set none. The answer
is ``{"manifests": [base64 or null, …]}``: null for objects that are not there, have no manifest or another etag.

This file is run, not imported, by the machine's own Python; see monitor.py.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

MANIFEST, ETAG = "user.rgw.manifest", "user.rgw.etag"
THREADS = 8  # questions to OSDs under way at once
MAX_LINE = 16 * 2**20


def main() -> None:
    """Connect, then answer each line until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--conf", required=True)
    parser.add_argument("--keyring", required=True)
    parser.add_argument("--timeout", type=int, required=True, help="seconds for one object")
    options = parser.parse_args()
    try:
        import rados  # type: ignore[import-not-found,unused-ignore]  # only the machine's own Python has it
    except ImportError as error:
        sys.exit(f"{sys.executable} has no Ceph bindings ({error}): install python3-rados")
    wait = str(options.timeout)
    # An object in a group that no OSD serves would be waited for without an end otherwise.
    settings = {"keyring": options.keyring, "client_mount_timeout": wait, "rados_osd_op_timeout": wait}
    try:
        cluster = rados.Rados(rados_id=options.id, conffile=options.conf, conf={**settings, "log_to_file": "false"})
        cluster.connect(timeout=options.timeout)
    except rados.Error as error:
        sys.exit(f"client.{options.id} cannot connect as {options.conf} and {options.keyring} say: {error}")
    own = threading.local()  # the locator is a state of the handle on a pool, so each thread has handles of its own

    def manifest(pool: str, name: str, locator: str, etag: str) -> str | None:
        handles = own.__dict__.setdefault("handles", {})
        try:
            if pool not in handles:
                handles[pool] = cluster.open_ioctx(pool)
            handles[pool].set_locator_key(locator)
            found = handles[pool].get_xattr(name, ETAG)
            if not matches(found, etag):
                return None
            return base64.b64encode(handles[pool].get_xattr(name, MANIFEST)).decode()
        except rados.Error:
            return None

    with ThreadPoolExecutor(THREADS) as threads:
        for line in iter(lambda: sys.stdin.readline(MAX_LINE), ""):
            asked = json.loads(line)["objects"]
            _answer(list(threads.map(lambda entry: manifest(*entry), asked)))


def matches(found: bytes, etag: str) -> bool:
    """Compare an etag as RGW keeps it (sometimes with a NUL at its end) with one as S3 shows it (in quotes)."""
    return hmac.compare_digest(found.rstrip(b"\0"), etag.strip('"').encode())


def _answer(manifests: list[str | None]) -> None:
    sys.stdout.write(json.dumps({"manifests": manifests}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
