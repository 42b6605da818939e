"""A server on loopback whose every byte a test decides."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class RawServer:
    """What the server does with a connection, and the requests that came over each.

    ``answers`` gets a connection and the bytes of a request, and says whether another may follow over it. ``ended`` is
    set when the test is over: an answer that never comes waits for it.
    """

    answers: Callable[[socket.socket, bytes], bool]
    url: str = ""
    requests: list[list[bytes]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)


def ok(channel: socket.socket, _: bytes) -> bool:
    """Answer, and keep the connection."""
    channel.sendall(OK)
    return True


def ok_and_close(channel: socket.socket, _: bytes) -> bool:
    """Answer as if the connection were kept, and end it."""
    channel.sendall(OK)
    return False


@contextmanager
def raw_server(answers: Callable[[socket.socket, bytes], bool] = ok) -> Iterator[RawServer]:
    """Serve until the end of the block; each connection has a thread."""
    threads: list[threading.Thread] = []
    channels: list[socket.socket] = []
    server = RawServer(answers)

    def serve(channel: socket.socket, seen: list[bytes]) -> None:
        with channel, suppress(OSError):
            while request := channel.recv(2**16):
                seen.append(request)
                if not server.answers(channel, request):
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                channel, _ = listening.accept()
                channels.append(channel)
                server.requests.append([])
                threads.append(threading.Thread(target=serve, args=(channel, server.requests[-1])))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield server
        finally:
            server.ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            for channel in channels:
                with suppress(OSError):
                    channel.shutdown(socket.SHUT_RDWR)
            for thread in threads[1:]:
                thread.join()
