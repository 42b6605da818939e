"""A placement map without a Ceph cluster: two of three hosts hold each object, chosen by its name.

Dask preload for the schedulers and workers of these tests, in place of the service that would hand the map out.
With TABLE_MAP_PATIENT in the environment no locality wait ends: on a busy machine, a host may be idle for long.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence

HOSTS = ("host11", "host12", "host13")


class TableMap:
    epoch = 1
    chunk_bytes = 64 * 2**20
    buckets: Mapping[str, object] = {}
    before = ""  # what stands before each key: with another, all objects lie elsewhere

    def hosts(self, bucket: str, keys: Sequence[str]) -> list[tuple[str, ...]]:
        return [holders(bucket, self.before + key) for key in keys]

    def address(self, host: str) -> str:
        return f"127.0.0.{host.removeprefix('host')}"


class TableMaps:
    def get(self, _bucket: str | None = None) -> TableMap:
        if os.environ.get("TABLE_MAP") == "gone":
            raise ConnectionRefusedError("the map service is gone")
        return TableMap()


def holders(bucket: str, key: str) -> tuple[str, ...]:
    without = zlib.crc32(f"{bucket}/{key}".encode()) % len(HOSTS)
    return tuple(host for i, host in enumerate(HOSTS) if i != without)


def dask_setup(server: object) -> None:
    from appliance.compute import scheduler_preload
    from appliance.compute.reading import placement_access
    from appliance.compute.scheduling import host_queue
    from appliance.compute.scheduling.atlas import Atlas

    if os.environ.get("TABLE_MAP_PATIENT"):
        for wait in ("WAIT_UNKNOWN", "WAIT_MIN", "WAIT_MAX", "IDLE_MAX", "HOSTS_SETTLE"):
            setattr(host_queue, wait, 600.0)
    if os.environ.get("TABLE_MAP") == "stale at the scheduler" and type(server).__name__ == "Scheduler":
        TableMap.before = "once "
    scheduler_preload._atlas = lambda: Atlas(TableMaps())
    placement_access.maps = TableMaps
