"""How many keys a second are placed, on one core. Needs no machines.

Seconds are those of the process on its core, so that whatever else the machine does counts little.

Prints a table and leaves ``build/bench/placement.json``: a figure for each shape of keys and each step, the medians
of several runs. The names of the figures are ``<shape>_<step>_keys_per_second``.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from appliance.placement import Bucket, PlacementMap, Pool

RUNS = 5
TARGET = Path("build/bench/placement.json")


def make_map(hosts: int = 24, pg_num: int = 4096) -> PlacementMap:
    """Return a map of a mid-sized site: three replicas of each of 4,096 groups on 24 hosts."""
    chooser = random.Random(20)
    acting = np.array([chooser.sample(range(hosts), 3) for _ in range(pg_num)], dtype=np.int32)
    names = [f"store{number:02}" for number in range(hosts)]
    return PlacementMap(
        epoch=1,
        cluster="00000000-0000-4000-8000-000000000000",
        chunk_bytes=64 * 2**20,
        osds=dict(enumerate(names)),
        addresses={name: f"10.0.0.{number + 1}" for number, name in enumerate(names)},
        pools={7: Pool(7, "data", False, pg_num, acting)},
        buckets={"alice": Bucket("2fd0ee0c-0a52-4d42-9c3d-ff4a3a0c1c3e.4137.1", 7, "default-placement")},
    )


def shapes(count: int) -> dict[str, list[str]]:
    """Return keys of each shape: those of a Zarr array, keys of any length, keys outside ASCII."""
    chooser = random.Random(21)
    return {
        "zarr": [f"era5/sst/c/{i}/{j % 64}/{j // 64}" for i in range(count // 4096 + 1) for j in range(4096)][:count],
        "mixed": ["x" * chooser.randint(1, 120) + str(number) for number in range(count)],
        "unicode": [f"Messung/Höhe über Null/{number}" for number in range(count)],
    }


def rate(step: Callable[[], object], count: int) -> float:
    """Return keys a second: the median of several runs."""
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return count / statistics.median(seconds)


def main() -> None:
    """Measure, print, write."""
    cluster_map = make_map()
    figures: dict[str, float] = {}
    for shape, keys in shapes(300_000).items():
        steps: dict[str, Callable[[], object]] = {
            "groups": lambda keys=keys: cluster_map.pgs("alice", keys),  # type: ignore[misc]
            "hosts": lambda keys=keys: cluster_map.hosts("alice", keys),  # type: ignore[misc]
        }
        for name, step in steps.items():
            figures[f"{shape}_{name}_keys_per_second"] = round(rate(step, len(keys)))
    figures["placement_keys_per_second"] = figures["zarr_groups_keys_per_second"]
    for name, figure in figures.items():
        print(f"{name:40} {figure / 1e6:6.2f} million")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
