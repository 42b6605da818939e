"""Ways to hide a request from one HTTP parser and show it to the next. Pure: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

HOST = "127.0.0.1"
ZERO = b"0\r\n\r\n"  # the end of a chunked body: what comes behind it is the next request


@dataclass(frozen=True)
class Door:
    """Requests that a server answers, each up to its version. ``write`` is refused before its body is read.

    Attributes:
        write: with a body, refused.
        read: without a body, answered.
        kept: with a body, done; "" where nothing is.
    """

    write: str
    read: str
    kept: str = ""


@dataclass(frozen=True)
class Way:
    """One way. ``pieces`` are sent one after the other, each once the answer to the last has come or stays away."""

    name: str
    pieces: Callable[[Door, bytes], list[bytes]]


def request(line: str, *headers: str, body: bytes = b"", version: str = " HTTP/1.1") -> bytes:
    """A request as it stands here, however odd its parts."""
    return "\r\n".join([line + version, f"Host: {HOST}", *headers, "", ""]).encode("latin-1") + body


def chunked(body: bytes, extension: bytes = b"") -> bytes:
    """A body as one chunk."""
    return b"%x%s\r\n%s\r\n%s" % (len(body), extension, body, ZERO)


def ways() -> list[Way]:
    """All ways, each by a name of its own."""
    return [*_expectations(), *_early_answers(), *_encodings(), *_lengths(), *_chunks(), *_lines(), *_headers()]


def _expectations() -> Iterator[Way]:
    """The answer comes instead of "100 Continue", and the body is sent all the same."""
    lines = {
        "refused": lambda door: door.write,
        "read": lambda door: door.read,
        "head": lambda door: door.read.replace("GET", "HEAD"),
        "delete": lambda door: door.write.replace("PUT", "DELETE").replace("POST", "DELETE"),
        "done": lambda door: door.kept or door.write,
    }
    values = ("100-continue", "100-Continue", "100-continue, x", "x", "100-continue\r\nExpect: 100-continue")
    for what, line in lines.items():
        for value in values:
            yield Way(
                f"Expect {value!r}, {what}",
                lambda door, inner, line=line, value=value: [
                    request(line(door), f"Content-Length: {len(inner)}", f"Expect: {value}"), inner,
                ],
            )  # fmt: skip
        yield Way(
            f"Expect, chunked, {what}",
            lambda door, inner, line=line: [
                request(line(door), "Transfer-Encoding: chunked", "Expect: 100-continue"), chunked(inner),
            ],
        )  # fmt: skip
        yield Way(
            f"Expect, chunked, but the body is a request, {what}",
            lambda door, inner, line=line: [
                request(line(door), "Transfer-Encoding: chunked", "Expect: 100-continue"), inner,
            ],
        )  # fmt: skip
        yield Way(
            f"Expect of HTTP/1.0, {what}",
            lambda door, inner, line=line: [
                request(
                    line(door), f"Content-Length: {len(inner)}", "Expect: 100-continue", "Connection: keep-alive",
                    version=" HTTP/1.0",
                ),
                inner,
            ],
        )  # fmt: skip


def _early_answers() -> Iterator[Way]:
    """The answer comes while the body is still to come."""
    for method in ("PUT", "POST", "GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "COPY"):
        yield Way(
            f"early answer to {method}",
            lambda door, inner, method=method: [
                request(f"{method} {door.write.split()[1]}", f"Content-Length: {len(inner)}"), inner,
            ],
        )  # fmt: skip
    yield Way(
        "early answer, chunked",
        lambda door, inner: [request(door.write, "Transfer-Encoding: chunked"), chunked(inner)],
    )
    yield Way(
        "the body ends too early",
        lambda door, inner: [request(door.write, f"Content-Length: {len(inner) + 10}", body=inner)],
    )


def _encodings() -> Iterator[Way]:
    """Transfer-Encoding beside Content-Length, and spellings of it that not everybody understands."""
    values = (
        "chunked", "Chunked", "xchunked", "chunked, identity", "identity, chunked", "identity", "gzip, chunked",
        "chunked, chunked", "\tchunked", "chunked\x0b", "\x0bchunked", "chunked;q=1", '"chunked"', "chunked\r\n x",
        "\r\n chunked", "chunked\r\nTransfer-Encoding: identity", "identity\r\nTransfer-Encoding: chunked", "chunked,",
    )  # fmt: skip
    for value in values:
        for length, what in ((5, "the end of the chunks"), (0, "nothing"), (-1, "all")):
            yield Way(
                f"Transfer-Encoding {value!r}, the length is that of {what}",
                lambda door, inner, value=value, length=length: [
                    request(
                        door.write,
                        f"Content-Length: {5 + len(inner) if length < 0 else length}",
                        f"Transfer-Encoding: {value}",
                        body=ZERO + inner,
                    )
                ],
            )
    names = (
        "Transfer-Encoding ", " Transfer-Encoding", "Transfer_Encoding", "Transfer-Encoding\x00",
        "Transf\xe9r-Encoding", "X: y\nTransfer-Encoding", "X: y\rTransfer-Encoding", "X\x0b: y\r\nTransfer-Encoding",
    )  # fmt: skip
    for name in names:
        yield Way(
            f"Transfer-Encoding under the name {name!r}",
            lambda door, inner, name=name: [
                request(door.write, f"{name}: chunked", f"Content-Length: {5 + len(inner)}", body=ZERO + inner)
            ],
        )


def _lengths() -> Iterator[Way]:
    """Several lengths, and such as are none. LENGTH is the true one."""
    values = (
        "0\r\nContent-Length: LENGTH", "LENGTH\r\nContent-Length: 0", "0, LENGTH", "LENGTH, 0", "LENGTH, LENGTH",
        "+LENGTH", "-LENGTH", "0xLENGTH", "\tLENGTH", "0LENGTH", "LENGTH.0", "LENGTHe0", "LENGTH;a", "", "'LENGTH'",
        "LENGTH\r\n 0", "LENGTH\x00", "18446744073709551616", "-0", "0\r\nContent_Length: LENGTH",
        "0\r\nContent-Length : LENGTH",
    )  # fmt: skip
    for value in values:
        for what in ("write", "read"):
            yield Way(
                f"Content-Length {value!r}, {what}",
                lambda door, inner, value=value, what=what: [
                    request(
                        getattr(door, what), f"Content-Length: {value.replace('LENGTH', str(len(inner)))}", body=inner
                    )
                ],
            )


def _chunks() -> Iterator[Way]:
    """Chunks whose size or end can be read in two ways."""
    for extension in (b";a=b", b';a="\n"', b" ;x", b"; a\n", b"\x00", b"\t", b";" + b"x" * 3000, b";\xff"):
        yield Way(
            f"chunk extension {extension[:8]!r}",
            lambda door, inner, extension=extension: [
                request(door.write, "Transfer-Encoding: chunked", body=chunked(inner, extension))
            ],
        )
    sizes = (b"0x5", b"+5", b"-5", b" 5", b"FFFFFFFFFFFFFFFF", b"10000000000000005", b"G", b"", b"5\n", b"5\r")
    for size in sizes:
        yield Way(
            f"chunk size {size!r}",
            lambda door, inner, size=size: [
                request(door.write, "Transfer-Encoding: chunked", body=size + b"\r\nhello\r\n" + ZERO + inner)
            ],
        )
    bodies = {
        "ends of lines without CR": lambda inner: b"0\n\n" + inner,
        "a chunk without its end": lambda inner: b"5\r\nhello" + ZERO + inner,
        "trailers with a length": lambda inner: chunked(inner)[:-2] + b"Content-Length: 5\r\n\r\n",
        "a request as trailer": lambda inner: b"0\r\nX: y\r\n" + inner,
    }
    for what, body in bodies.items():
        yield Way(
            what,
            lambda door, inner, body=body: [request(door.write, "Transfer-Encoding: chunked", body=body(inner))],
        )


def _lines() -> Iterator[Way]:
    """First lines: versions, methods, targets, white space, control characters."""
    versions = (
        " HTTP/1.0",
        " HTTP/0.9",
        " HTTP/2.0",
        " HTTP/1.10",
        " HTTP/11.1",
        " http/1.1",
        " HTTP/1.1 ",
        " RTSP/1.0",
        "",
    )
    for version in versions:
        yield Way(
            f"version {version!r}",
            lambda door, inner, version=version: [
                request(door.write, f"Content-Length: {len(inner)}", version=version, body=inner)
            ],
        )
        yield Way(
            f"version {version!r}, chunked with a length",
            lambda door, inner, version=version: [
                request(
                    door.write, "Connection: keep-alive", "Content-Length: 5", "Transfer-Encoding: chunked",
                    version=version, body=ZERO + inner,
                )
            ],
        )  # fmt: skip
    targets = (
        f"CONNECT {HOST}", "CONNECT /", f"GET http://{HOST}/", "GET http://other/", "OPTIONS *", "GET  /", "GET\t/",
        "GET /\x00", "GET /\x7f", "GET /#", "GET /\xff", "GET / /", "get /", "G@T /", "GET\0 /", " GET /", "\r\nGET /",
        "\nGET /", "\x00GET /", "GET ?x", "GET //", "GET /../", "PRI *",
    )  # fmt: skip
    for target in targets:
        yield Way(
            f"first line {target!r}",
            lambda _, inner, target=target: [request(target, f"Content-Length: {len(inner)}", body=inner)],
        )
    yield Way("HTTP/2 without asking", lambda _, inner: [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + inner])


def _headers() -> Iterator[Way]:
    """Headers that end early, do not end, or tell the balancer to take others away."""
    headers = (
        "X: a\rb", "X: a\nGET / HTTP/1.1", "X: a\x00b", "X\x00: a", "X: \x01", "X : a", ": a", "X", "X: a\n\n",
        "\tX: a", "X: a\r\n\tb", "Host: other", "Host: a\r\nHost: b", "Connection: content-length",
        "Connection: transfer-encoding", "Connection: close, content-length", "Connection: expect", "Connection: host",
        "Proxy-Connection: keep-alive", "TE: trailers", "X: " + "y" * 20000, "X" * 70000 + ": y",
        "\r\n".join(f"X-{number}: y" for number in range(200)),
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    )  # fmt: skip
    for header in headers:
        name = f"{header[:60]!r}{'…' * (len(header) > 60)}"
        yield Way(
            f"header {name}",
            lambda door, inner, header=header: [
                request(door.write, header, f"Content-Length: {len(inner)}", body=inner)
            ],
        )
        yield Way(
            f"header {name}, Expect",
            lambda door, inner, header=header: [
                request(door.write, header, f"Content-Length: {len(inner)}", "Expect: 100-continue"), inner,
            ],
        )  # fmt: skip
    yield Way(
        "all ends of lines without CR",
        lambda door, inner: [request(door.write, f"Content-Length: {len(inner)}").replace(b"\r\n", b"\n") + inner],
    )
