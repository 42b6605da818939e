"""A server elsewhere, over HTTP, from which files and datasets are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import http_serving


@dataclass
class Archive:
    """A server elsewhere, which this machine plays.

    Attributes:
        port: of it, on loopback.
        files: by path.
        answers: by path what else is answered: status, headers and body.
        asked: paths, in turn.
        tag: of the files.
        headers: that all files have.
    """

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tag: str = '"1"'
    headers: dict[str, str] = field(default_factory=dict)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@contextmanager
def serving_archive() -> Iterator[Archive]:
    """An archive without files, until the end of the block."""
    made = Archive()

    class Handler(http_serving.Handler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            body = made.files.get(self.path, b"")
            headers = {"Content-Length": str(len(body)), "ETag": made.tag, **made.headers}
            status, headers, body = made.answers.get(self.path, (200 if body else 404, headers, body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with http_serving.serving(Handler, "127.0.0.1", "archive") as made.port:
        yield made
