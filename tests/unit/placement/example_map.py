"""A small map of three hosts for the tests of this room."""

from typing import Any

MARKER = "f5a2.4137.1"


def document() -> dict[str, Any]:
    """Return a map's JSON document: pool 7 replicated on three hosts, pool 8 erasure-coded, pool 9 partly unserved."""
    return {
        "format": "appliance.placement/1",
        "epoch": 42,
        "cluster": "1e3e2f9c-0000-4000-8000-000000000001",
        "chunk_bytes": 64 * 2**20,
        "hosts": {"store1": "10.77.0.21", "store2": "10.77.0.22", "store3": "10.77.0.23"},
        "osds": {"0": "store1", "1": "store2", "2": "store3", "3": "store1"},
        "pools": [
            {
                "id": 7,
                "name": "data",
                "type": "replicated",
                "pg_num": 3,
                "acting": [[0, 1], [1, 2], [2, 0]],
                "data_shards": 1,
            },
            {"id": 8, "name": "cold", "type": "erasure", "pg_num": 1, "acting": [[0, 1, 2]], "data_shards": 2},
            {
                "id": 9,
                "name": "hurt",
                "type": "replicated",
                "pg_num": 2,
                "acting": [[-1, -1], [3, 0]],
                "data_shards": 1,
            },
        ],
        "buckets": {
            "alice": {"marker": MARKER, "pool": 7, "placement": "default-placement", "versioned": False},
            "archive": {
                "marker": "f5a2.4137.2",
                "pool": 8,
                "placement": "default-placement/COLD",
                "versioned": False,
            },
            "broken": {"marker": "f5a2.4137.3", "pool": 9, "placement": "default-placement", "versioned": False},
            "lab/kept": {"marker": "f5a2.4137.4", "pool": 7, "placement": "default-placement", "versioned": True},
        },
    }
