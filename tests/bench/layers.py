"""What a worker reads, layer by layer, in seconds for all of it. Run in the notebook's Python, and by its worker."""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import time
import urllib.parse
from typing import Any

import xarray as xr
from distributed import Client

from appliance.compute.reading import objects
from appliance.placement import MapClient


class Layers:
    """The chunks of a Zarr field that a host holds the primary copies of, read by the worker of that host."""

    def __init__(self, client: Client, url: str, host: str, gateway_port: int):
        placed = MapClient(os.environ["APPLIANCE_PLACEMENT_URL"]).get("alice")
        self.client, self.url, self.gateway = client, url, f"127.0.0.1:{gateway_port}"
        self.field = xr.open_zarr(url).t
        prefix = url.removeprefix("s3://alice/") + "/t/c/"
        keys = [f"{prefix}{number}/0/0" for number in range(self.field.data.numblocks[0])]
        self.chunks = [number for number, hosts in enumerate(placed.hosts("alice", keys)) if hosts[0] == host]
        self.keys = [keys[number] for number in self.chunks]
        bucket = placed.bucket("alice")
        self.pool = placed.pools[bucket.pool].name
        self.objects = [f"{bucket.marker}_{key}" for key in self.keys]
        workers = client.scheduler_info(n_workers=-1)["workers"]
        self.worker = next(at for at in workers if urllib.parse.urlsplit(at).hostname == placed.address(host))

    def measured(self, layer: str) -> dict[str, float]:
        """Read all of it once, down to a layer: seconds, and the worker's seconds in the kernel and page faults."""
        before = self.client.run(kernel, workers=[self.worker])[self.worker]
        seconds = self._seconds(layer)
        after = self.client.run(kernel, workers=[self.worker])[self.worker]
        return {"seconds": seconds, "kernel_seconds": after[0] - before[0], "faults": after[1] - before[1]}

    def _seconds(self, layer: str) -> float:
        if layer == "tasks":
            return self._tasks()
        work: dict[str, tuple[Any, ...]] = {
            "gateway": (over_http, self.keys, self.gateway),
            "balancer": (over_http, self.keys, None),
            "obstore": (over_obstore, self.keys),
            "values": (to_values, self.url, self.chunks),
        }
        took: float = self.client.submit(*work[layer], workers=[self.worker], pure=False).result()
        return took

    def _tasks(self) -> float:
        parts = [self.field.data.blocks[number].map_blocks(lambda block: block[:1, :1, :1]) for number in self.chunks]
        begun = time.perf_counter()
        self.client.gather(self.client.compute(parts, workers=[self.worker], allow_other_workers=False))
        return time.perf_counter() - begun


def kernel() -> tuple[float, int]:
    """The process's seconds in the kernel so far, and page faults that needed no disk."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_stime, used.ru_minflt


def over_http(keys: list[str], address: str | None) -> float:
    """GET over one connection; nothing is kept. Without an address, from where the worker's environment says."""
    from botocore.auth import S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.session import Session

    address = address or urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    paths = []
    for key in keys:
        request = AWSRequest("GET", f"http://{address}/alice/{key}")
        S3SigV4QueryAuth(Session().get_credentials(), "s3", os.environ["AWS_DEFAULT_REGION"], 600).add_auth(request)
        paths.append(request.url.removeprefix(f"http://{address}"))
    buffer, connection = bytearray(2**20), http.client.HTTPConnection(address)
    connection.connect()
    begun = time.perf_counter()
    for path in paths:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{path}: {answer.status} {answer.read(200)!r}")
        while answer.readinto(buffer):
            pass
    return time.perf_counter() - begun


def over_obstore(keys: list[str]) -> float:
    """The facility's client, as zarr is given bytes by it."""
    access = objects.own_access()

    async def read() -> float:
        begun = time.perf_counter()
        for key in keys:
            await objects.read("alice", key, access)
        return time.perf_counter() - begun

    return asyncio.run(read())


def to_values(url: str, chunks: list[int]) -> float:
    """An xarray user's ``.values``, chunk by chunk."""
    steps = xr.open_zarr(url).t.data.chunks[0][0]
    field = xr.open_zarr(url, chunks=None).t
    begun = time.perf_counter()
    for number in chunks:
        _ = field.isel(time=slice(number * steps, (number + 1) * steps)).values
    return time.perf_counter() - begun
