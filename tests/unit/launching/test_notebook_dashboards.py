"""The way from a notebook server to a dashboard, through a real gateway to a real scheduler."""

from __future__ import annotations

import asyncio
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dask_gateway import BasicAuth, Gateway, GatewayCluster
from running_gateway import RunningGateway

from appliance.notebook.dashboards import Dashboards, NoDashboardError


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a path that leaves room for a socket's name, which has an end; `tmp_path` is too long."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@asynccontextmanager
async def dashboards(running: RunningGateway, user: str, folder: Path) -> AsyncIterator[Dashboards]:
    async with Gateway(running.address, proxy_address=running.tls, auth=BasicAuth(user), asynchronous=True) as gateway:
        made = Dashboards(folder, lambda: gateway)
        try:
            yield made
        finally:
            await made.close()


async def page(path: str, asked: str = "/status") -> bytes:
    """What comes back at a socket; nothing where the connection ends."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(f"GET {asked} HTTP/1.0\r\n\r\n".encode())
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        await writer.wait_closed()


def test_the_owner_gets_the_page_at_a_socket(running: RunningGateway, cluster: GatewayCluster, folder: Path) -> None:
    async def see() -> None:
        async with dashboards(running, "alice", folder) as own:
            key, again = await own.open(cluster.name), await own.open(cluster.name)
            assert key != again
            assert own.keys.opens(key, cluster.name)
            path = own.socket(cluster.name)
            assert stat.S_ISSOCK(Path(path).stat().st_mode)
            answer = await page(path)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"Bokeh" in answer
            # Several at a time, larger than what is read at once.
            scripts = await asyncio.gather(*(page(path, "/static/js/bokeh.min.js") for _ in range(3)))
            assert len({len(script) for script in scripts}) == 1
            assert len(scripts[0]) > 2**19
        assert not Path(path).exists()

    asyncio.run(see())


def test_nobody_opens_the_cluster_of_another(running: RunningGateway, cluster: GatewayCluster, folder: Path) -> None:
    async def see() -> None:
        async with dashboards(running, "mallory", folder) as theirs:
            with pytest.raises(NoDashboardError, match="somebody else's"):
                await theirs.open(cluster.name)
            with pytest.raises(NoDashboardError):
                theirs.socket(cluster.name)
        assert list(folder.iterdir()) == []

    asyncio.run(see())


def test_a_cluster_that_is_not_there_is_said(running: RunningGateway, folder: Path) -> None:
    async def see() -> None:
        async with dashboards(running, "alice", folder) as own:
            with pytest.raises(NoDashboardError, match="not found"):
                await own.open("0" * 32)

    asyncio.run(see())


def test_a_cluster_that_ended_takes_its_way_with_it(running: RunningGateway, folder: Path) -> None:
    async def see() -> None:
        async with dashboards(running, "alice", folder) as own:
            with running.gateway("alice") as gateway:
                made = gateway.new_cluster(environment=running.environment)
                await own.open(made.name)
                path = own.socket(made.name)
                made.shutdown()
            with pytest.raises(NoDashboardError, match=r"does not run|not found"):
                await own.open(made.name)
            assert not Path(path).exists()

    asyncio.run(see())


def test_where_the_gateway_is_gone_the_connection_ends(
    running: RunningGateway, cluster: GatewayCluster, folder: Path
) -> None:
    async def see() -> None:
        async with dashboards(running, "alice", folder) as own:
            await own.open(cluster.name)
            (tunnel,) = own._tunnels.values()
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                tunnel.port = closed.getsockname()[1]
            assert await page(own.socket(cluster.name)) == b""

    asyncio.run(see())
