"""An S3 endpoint over a folder, for one loopback address each host: says which host answered, and keeps a log.

It speaks the part of S3 that s3fs uses for Zarr: get, head, put, delete and list objects, with no check of signatures.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


def host_of(address: str) -> str:
    """127.0.0.12 is the loopback address of host12."""
    return f"host{address.rsplit('.', 1)[1]}"


@dataclass
class S3Endpoint:
    """One server that listens on all loopback addresses.

    Attributes:
        folder: buckets are folders in it, objects files.
        log: (method, host that answered, "/bucket/key", query) of each request.
        refuse: how many of the next requests are answered with 503.
    """

    folder: Path
    log: list[tuple[str, str, str, str]] = field(default_factory=list)
    refuse: int = 0

    def __post_init__(self) -> None:
        endpoint = self
        self._lock = threading.Lock()

        class Handler(_Handler):
            s3 = endpoint

        # All of 127.0.0.0/8 is this machine: the address that a client names is the host that it means.
        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)  # noqa: S104
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def url(self, address: str) -> str:
        return f"http://{address}:{self._server.server_address[1]}"

    def asked(self, method: str = "GET") -> list[str]:
        """Objects that were asked for, listings apart."""
        return [path.lstrip("/") for verb, _, path, query in self.log if verb == method and "list-type" not in query]

    def take(self, method: str, host: str, path: str, query: str) -> bool:
        with self._lock:
            self.log.append((method, host, path, query))
            self.refuse -= 1
            return self.refuse < 0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    s3: S3Endpoint
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("HEAD")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.s3.take(method, self._host(), path, url.query):
            return self._answer(503, b"<Error><Code>ServiceUnavailable</Code></Error>")
        file = self.s3.folder / path.lstrip("/")
        if method == "PUT":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            return self._answer(200, b"", {"ETag": '"0"'})
        if method == "DELETE":
            file.unlink(missing_ok=True)
            return self._answer(204, b"")
        if "list-type" in query:
            return self._answer(200, self._listing(path.strip("/"), query))
        if not file.is_file():
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>" if method == "GET" else b"")
        data = file.read_bytes()
        if "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            data = data[int(first) : int(last) + 1 if last else None] if first else data[-int(last) :]
            return self._answer(206, data)
        return self._answer(200, data if method == "GET" else b"", {"ETag": '"0"'}, length=len(data))

    def _host(self) -> str:
        return host_of(self.connection.getsockname()[0])

    def _listing(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        root = self.s3.folder / bucket
        names = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
        contents, prefixes = "", set()
        for name in (name for name in names if name.startswith(prefix)):
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                contents += f"<Contents><Key>{escape(name)}</Key><Size>{(root / name).stat().st_size}</Size></Contents>"
        common = "".join(f"<CommonPrefixes><Prefix>{escape(p)}</Prefix></CommonPrefixes>" for p in sorted(prefixes))
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}{common}</ListBucketResult>".encode()

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.send_header("x-appliance-served-by", self._host())
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are in ``log``; nothing goes to the terminal."""
