"""A placement map without a Ceph cluster: two of three hosts hold each object, chosen by its name.

Dask preload for the schedulers and workers of these tests, in place of the service that would hand the map out.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

HOSTS = ("host11", "host12", "host13")


class TableMap:
    epoch = 1
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
    from appliance.compute import counters, plugin

    if os.environ.get("TABLE_MAP") == "stale at the scheduler" and type(server).__name__ == "Scheduler":
        TableMap.before = "once "
    plugin._placement = lambda: (TableMaps(), None)
    counters._placement = TableMaps().get
