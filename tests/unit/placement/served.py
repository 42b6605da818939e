"""A placement service on a port of loopback, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.placement.service import Service


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Serve the pages of a service, which looks at no cluster; gives the address."""
    loop, ready, port = asyncio.new_event_loop(), threading.Event(), []

    async def start() -> None:
        server = service.application().listen(0, "127.0.0.1")
        port.append(next(iter(server._sockets.values())).getsockname()[1])
        ready.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
