"""What the cluster's answers say of its OSDs and placement groups: the part of a map that is not of buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from appliance.placement.errors import ClusterError
from appliance.placement.model.placement_map import NOBODY, Acting, Pool
from appliance.placement.service.ceph_monitors import Monitors

CRUSH_ITEM_NONE = 2**31 - 1  # stands in an acting set where no OSD could be found (src/crush/crush.h)
_PG_DUMP = {"prefix": "pg dump", "dumpcontents": ["pgs_brief"], "format": "json"}


class Address(TypedDict):
    """One of a daemon's addresses: ``10.77.0.21:6801``, ``[fd00::21]:6801``."""

    addr: str


class AddressVector(TypedDict):
    """A daemon's addresses, one for each protocol."""

    addrvec: list[Address]


class OsdEntry(TypedDict):
    """An OSD in ``osd dump``."""

    osd: int
    public_addrs: NotRequired[AddressVector]


class PoolEntry(TypedDict):
    """A pool in ``osd dump``."""

    pool: int
    pool_name: str
    type: int
    size: int
    pg_num: int
    object_hash: int
    erasure_code_profile: str


class OsdDump(TypedDict):
    """The answer to ``osd dump``, as far as it is used."""

    epoch: int
    fsid: str
    osds: list[OsdEntry]
    pools: list[PoolEntry]
    erasure_code_profiles: NotRequired[dict[str, dict[str, str]]]


class TreeNode(TypedDict):
    """A node in ``osd tree``: a root, a rack, a host, an OSD."""

    name: str
    type: str
    children: NotRequired[list[int]]


class OsdTree(TypedDict):
    """The answer to ``osd tree``."""

    nodes: list[TreeNode]


class PgEntry(TypedDict):
    """A placement group in ``pg dump``."""

    pgid: str
    acting: list[int]
    acting_primary: int


class PgDump(TypedDict):
    """The answer to ``pg dump``."""

    pg_stats: list[PgEntry]


@dataclass(frozen=True)
class OsdTable:
    """The part of a map that Ceph's monitors and manager know: all but the buckets."""

    epoch: int
    cluster: str
    osds: Mapping[int, str]
    addresses: Mapping[str, str]
    pools: Mapping[int, Pool]
    asked: frozenset[str]  # the pools that were asked for, there or not

    def pool_named(self, name: str) -> int | None:
        """Return a pool's number, or None."""
        return next((pool.id for pool in self.pools.values() if pool.name == name), None)


def read_epoch(monitors: Monitors) -> int:
    """Return the OSD map's epoch: the cheap question whether anything can have changed."""
    return int(monitors.ask({"prefix": "osd stat", "format": "json"})["epoch"])


def read_osd_table(monitors: Monitors, pool_names: Iterable[str]) -> OsdTable:
    """Read OSDs, hosts, and the placement groups of the named pools (unknown names are left out)."""
    dump = monitors.ask({"prefix": "osd dump", "format": "json"})
    tree = monitors.ask({"prefix": "osd tree", "format": "json"})
    groups = monitors.ask(_PG_DUMP, to="mgr")
    return make_osd_table(dump, tree, groups, set(pool_names))


def make_osd_table(dump: OsdDump, tree: OsdTree, groups: PgDump | list[PgEntry], pool_names: set[str]) -> OsdTable:
    """Make a table of the answers to ``osd dump``, ``osd tree`` and ``pg dump pgs_brief``.

    Raises ``ClusterError`` where the manager does not know all groups of a pool yet, as just after its own start or
    while a pool is being split: half a picture would send tasks to the wrong hosts.
    """
    osds = {
        int(osd): str(node["name"])
        for node in tree["nodes"]
        if node["type"] == "host"
        for osd in node.get("children", [])
    }
    addresses: dict[str, str] = {}
    for osd in dump["osds"]:
        host, address = osds.get(osd["osd"]), _address(osd)
        if host is not None and address is not None:
            addresses.setdefault(host, address)
    osds = {osd: host for osd, host in osds.items() if host in addresses}
    wanted = {pool["pool"]: pool for pool in dump["pools"] if pool["pool_name"] in pool_names}
    rows: dict[int, dict[int, list[int]]] = {pool: {} for pool in wanted}
    for group in groups["pg_stats"] if isinstance(groups, dict) else groups:
        pool, _, number = group["pgid"].partition(".")
        if int(pool) in rows:
            rows[int(pool)][int(number, 16)] = _primary_first(group["acting"], group["acting_primary"], osds)
    return OsdTable(
        epoch=int(dump["epoch"]),
        cluster=str(dump["fsid"]),
        osds=osds,
        addresses=addresses,
        pools={
            number: _pool(entry, rows[number], dump.get("erasure_code_profiles", {}))
            for number, entry in wanted.items()
        },
        asked=frozenset(pool_names),
    )


def _pool(entry: PoolEntry, rows: Mapping[int, list[int]], profiles: Mapping[str, Mapping[str, str]]) -> Pool:
    name, pg_num = entry["pool_name"], int(entry["pg_num"])
    if int(entry["object_hash"]) != 2:  # CEPH_STR_HASH_RJENKINS in src/include/ceph_hash.h
        raise ClusterError(f"pool {name!r} hashes by method {entry['object_hash']}; only rjenkins (2) is known here")
    missing = [pg for pg in range(pg_num) if pg not in rows]
    if missing:
        raise ClusterError(f"the manager knows {pg_num - len(missing)} of pool {name!r}'s {pg_num} placement groups")
    width = max(1, int(entry["size"]), *(len(rows[pg]) for pg in range(pg_num)))
    acting: Acting = np.full((pg_num, width), NOBODY, dtype=np.int32)
    for pg in range(pg_num):
        acting[pg, : len(rows[pg])] = rows[pg]
    # Type 3 is erasure (src/osd/osd_types.h, pg_pool_t::TYPE_ERASURE); 1 is replicated; no other is in use.
    erasure = int(entry["type"]) == 3
    shards = int(profiles[entry["erasure_code_profile"]]["k"]) if erasure else 1
    return Pool(int(entry["pool"]), name, erasure, pg_num, acting, shards)


def _primary_first(acting: list[int], primary: int, osds: Mapping[int, str]) -> list[int]:
    # With primary affinity the primary need not be the first of the acting set. The order of the others is Ceph's.
    ordered = [primary, *(osd for osd in acting if osd != primary)] if primary in acting else acting
    return [osd if osd in osds else NOBODY for osd in ordered if osd != CRUSH_ITEM_NONE]


def _address(osd: OsdEntry) -> str | None:
    for entry in osd.get("public_addrs", AddressVector(addrvec=[]))["addrvec"]:
        address = str(entry["addr"]).rpartition(":")[0].strip("[]")
        if address and address not in ("0.0.0.0", "::"):  # noqa: S104 - what an OSD that never started has
            return address
    return None
