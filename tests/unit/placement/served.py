"""A placement service on a port of loopback, in a thread of its own."""

import asyncio
import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from appliance.placement.service.app import PlacementService


@dataclass
class Served:
    """A service that answers at ``url``. It asks the cluster when a test tells it to."""

    service: PlacementService
    url: str

    def request(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer, whatever its status."""
        with closing(http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)) as connection:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()


@contextmanager
def served(service: PlacementService) -> Iterator[Served]:
    """Serve a service's pages; at the end it is closed."""
    ready, ended, loops = threading.Event(), asyncio.Event(), list[asyncio.AbstractEventLoop]()
    sockets = bind_sockets(0, "127.0.0.1")

    async def serve() -> None:
        server = HTTPServer(service.application())
        server.add_sockets(sockets)
        loops.append(asyncio.get_running_loop())
        ready.set()
        await ended.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield Served(service, f"http://127.0.0.1:{sockets[0].getsockname()[1]}")
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()
        service.close()
