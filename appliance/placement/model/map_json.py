"""The map as JSON: what the service sends and clients read.

A document from the network is believed only as far as it agrees with itself. Every check names the place in the
document, what stands there and what should.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from appliance.placement.errors import MapError
from appliance.placement.model.placement_map import NOBODY, Acting, Bucket, PlacementMap, Pool

T = TypeVar("T")

FORMAT = "appliance.placement/1"
MAX_PG_NUM = 2**20  # a pool of a million groups is a hundred times the largest that Ceph recommends
MAX_SIZE = 64


def encode_map(cluster_map: PlacementMap) -> dict[str, object]:
    """Return the document for a map, as ``json.dumps`` takes it."""
    return {
        "format": FORMAT,
        "epoch": cluster_map.epoch,
        "cluster": cluster_map.cluster,
        "chunk_bytes": cluster_map.chunk_bytes,
        "hosts": dict(cluster_map.addresses),
        "osds": {str(osd): host for osd, host in cluster_map.osds.items()},
        "pools": [
            {
                "id": pool.id,
                "name": pool.name,
                "type": "erasure" if pool.erasure else "replicated",
                "pg_num": pool.pg_num,
                "acting": pool.acting.tolist(),
                "data_shards": pool.data_shards,
            }
            for pool in cluster_map.pools.values()
        ],
        "buckets": {
            name: {
                "marker": bucket.marker,
                "pool": bucket.pool,
                "placement": bucket.placement,
                "versioned": bucket.versioned,
            }
            for name, bucket in cluster_map.buckets.items()
        },
    }


def decode_map(document: object) -> PlacementMap:
    """Return the map that a document describes; ``MapError`` says where the document is wrong."""
    top = _mapping(document, "the map")
    if top.get("format") != FORMAT:
        raise MapError(
            f"format is {_shown(top.get('format'))}, and this program reads {FORMAT!r}: "
            "the address is not the placement service's, or the two are of different releases"
        )
    hosts = {name: _address(value, f"hosts[{name!r}]") for name, value in _mapping(top.get("hosts"), "hosts").items()}
    osds: dict[int, str] = {}
    for number, host in _mapping(top.get("osds"), "osds").items():
        if not number.isdecimal():
            raise MapError(f"osds: {number!r} is no OSD's number")
        osds[int(number)] = _known(_text(host, f"osds[{number}]"), hosts, f"osds[{number}]", "hosts")
    pools: dict[int, Pool] = {}
    listed = top.get("pools")
    if not isinstance(listed, list):
        raise MapError(f"pools is {_shown(listed)}, not a list")
    for at, entry in enumerate(listed):
        pool = _pool(_mapping(entry, f"pools[{at}]"), f"pools[{at}]", osds)
        if pool.id in pools:
            raise MapError(f"pools[{at}]: pool {pool.id} is there twice")
        pools[pool.id] = pool
    buckets: dict[str, Bucket] = {}
    for name, value in _mapping(top.get("buckets"), "buckets").items():
        place = f"buckets[{name!r}]"
        entry = _mapping(value, place)
        buckets[name] = Bucket(
            marker=_text(entry.get("marker"), f"{place}.marker"),
            pool=_known(_integer(entry.get("pool"), f"{place}.pool", 0), pools, f"{place}.pool", "pools"),
            placement=_text(entry.get("placement"), f"{place}.placement"),
            versioned=_flag(entry.get("versioned", False), f"{place}.versioned"),
        )
    return PlacementMap(
        epoch=_integer(top.get("epoch"), "epoch", 1),
        cluster=_text(top.get("cluster"), "cluster"),
        chunk_bytes=_integer(top.get("chunk_bytes"), "chunk_bytes", 1),
        osds=osds,
        addresses=hosts,
        pools=pools,
        buckets=buckets,
    )


def _pool(entry: Mapping[str, object], place: str, osds: Mapping[int, str]) -> Pool:
    kind = entry.get("type")
    if kind not in ("replicated", "erasure"):
        raise MapError(f"{place}.type is {_shown(kind)}, not 'replicated' or 'erasure'")
    pg_num = _integer(entry.get("pg_num"), f"{place}.pg_num", 1, MAX_PG_NUM)
    return Pool(
        id=_integer(entry.get("id"), f"{place}.id", 0),
        name=_text(entry.get("name"), f"{place}.name"),
        erasure=kind == "erasure",
        pg_num=pg_num,
        acting=_acting(entry.get("acting"), pg_num, f"{place}.acting", osds),
        data_shards=_integer(entry.get("data_shards", 1), f"{place}.data_shards", 1, MAX_SIZE),
    )


def _acting(rows: object, pg_num: int, place: str, osds: Mapping[int, str]) -> Acting:
    if not isinstance(rows, list) or len(rows) != pg_num:
        found = f"{len(rows)} rows" if isinstance(rows, list) else _shown(rows)
        raise MapError(f"{place} is {found}, not one row for each of the pool's {pg_num} placement groups")
    known = {*osds, NOBODY}
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    for pg, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width or not 1 <= width <= MAX_SIZE:
            raise MapError(f"{place}[{pg}] is {_shown(row)}, not {width or 'at least one'} OSD numbers like the rest")
        for osd in row:
            if type(osd) is not int or osd not in known:
                raise MapError(f"{place}[{pg}] names OSD {_shown(osd)}, which osds does not hold")
    return np.array(rows, dtype=np.int32)


def _shown(value: object) -> str:
    text = repr(value)
    return "missing" if value is None else text if len(text) <= 60 else f"{text[:57]}…"


def _mapping(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise MapError(f"{place} is {_shown(value)}, not an object")
    return value


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise MapError(f"{place} is {_shown(value)}, not a text")
    return value


def _integer(value: object, place: str, least: int, most: int = 2**63 - 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise MapError(f"{place} is {_shown(value)}, not a whole number from {least} to {most}")
    return value


def _flag(value: object, place: str) -> bool:
    if type(value) is not bool:
        raise MapError(f"{place} is {_shown(value)}, not true or false")
    return value


def _known(value: T, among: Mapping[T, object], place: str, what: str) -> T:
    if value not in among:
        raise MapError(f"{place} is {_shown(value)}, which {what} does not hold")
    return value


def _address(value: object, place: str) -> str:
    try:
        return str(ipaddress.ip_address(_text(value, place)))
    except ValueError:
        raise MapError(f"{place} is {_shown(value)}, not an IP address") from None
