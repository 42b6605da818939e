"""A socket of the researcher's own that leads to one dashboard: through the gateway, under TLS to the scheduler."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger("appliance.notebook.tunnel")

_PIECE = 2**16


@dataclass
class Tunnel:
    """Listens at a socket, and hands bytes to and fro.

    Attributes:
        path: of the socket, in a directory that nobody else enters.
        host: the gateway's.
        port: of its TLS proxy.
        name: under which that proxy knows the dashboard.
        tls: shows the cluster's certificate and takes no other.
    """

    path: Path
    host: str
    port: int
    name: str
    tls: ssl.SSLContext
    _server: asyncio.Server | None = field(default=None, init=False)

    async def open(self) -> None:
        """Listen; raises `OSError` where that cannot be."""
        self._server = await asyncio.start_unix_server(self._lead, self.path)

    async def close(self) -> None:
        """Listen no more. What runs goes on to its end."""
        if self._server:
            self._server.close()
            self.path.unlink(missing_ok=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_connection(self.host, self.port, ssl=self.tls, server_hostname=self.name)
        except OSError as error:
            logger.warning("%s does not answer: %s", self.name, error)
            writer.close()
            return
        # Neither end closes one direction alone: where one is at its end, so is the other.
        ways = {asyncio.ensure_future(_copy(reader, far[1])), asyncio.ensure_future(_copy(far[0], writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for told in await asyncio.gather(*ways, return_exceptions=True):
                if isinstance(told, OSError):
                    logger.info("%s: the connection ended: %s", self.name, told)
            writer.close()
            far[1].close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        target.write(piece)
        await target.drain()
