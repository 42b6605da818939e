"""A way in clear, on this host, to what answers over TLS on a machine of the rack."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import ssl
import threading


def forward(address: str, port: int, authority: str) -> int:
    """Return a port of this host's loopback address behind which a server answers that an authority vouches for.

    It is there until the process ends. In one thread, for TLS of Python must not be read and written by two.
    """
    context = ssl.create_default_context(cadata=authority)

    async def join(client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        # Where the server is not reached, the client sees that its connection ends.
        with contextlib.suppress(OSError):
            try:
                server, question = await asyncio.open_connection(address, port, ssl=context)
                ways = [asyncio.ensure_future(_pump(client, question)), asyncio.ensure_future(_pump(server, answer))]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                question.close()
            finally:
                answer.close()

    loop, ports = asyncio.new_event_loop(), queue.Queue[int]()

    async def serve() -> None:
        own = await asyncio.start_server(join, "127.0.0.1", 0)
        ports.put(own.sockets[0].getsockname()[1])
        await own.serve_forever()

    # All of it there: a browser's tests leave a loop that runs in the main thread, which bears no second one.
    run = threading.Thread(target=loop.run_until_complete, args=[serve()], daemon=True)
    run.start()
    return ports.get(timeout=60)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(65536):
            target.write(piece)
            await target.drain()
