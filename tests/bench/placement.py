"""How many keys a second are placed, on one core; where a rack stands, beside what Ceph's own ways of asking cost.

Seconds are those of the process on its core, so that whatever else the machine does counts little. Ceph's are by the
clock: whoever asks a monitor waits for it.

Prints a table and leaves ``build/bench/placement.json``: a figure for each shape of keys and each step, the medians
of several runs. The names of the figures are ``<shape>_<step>_keys_per_second``; ``zarr`` are an array's keys as a list
of texts, ``zarr_grid`` the same from the array's shape. ``placement_keys_per_second`` is the list's way to hosts, which
is the way of the scheduler's plugin.
``ceph_osd_map_names_per_second`` is the command, ``librados_names_per_second`` the same question over one connection.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from summary import add

from appliance.placement import Bucket, PlacementMap, Pool

RUNS = 5
GRID = (64, 64, 74)  # as many chunks as there are keys of the other shapes
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


def ceph_rates() -> dict[str, float]:
    """Return how many names a second Ceph itself places on a standing rack; nothing where none stands."""
    state = Path(os.environ.get("APPLIANCE_STATE", "/var/lib/appliance"))
    config = state / "racks" / os.environ.get("APPLIANCE_RACK", "rack") / "ssh_config"
    if not config.exists():
        return {}
    words = ["ssh", "-F", str(config), "store1", "/usr/bin/python3", "-"]
    done = subprocess.run(words, input=CEPH, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        print(f"the rack at {config} was not asked: {done.stderr.strip().splitlines()[-1:]}")
        return {}
    found: dict[str, float] = json.loads(done.stdout)
    return found


# Run on a machine of the rack: what a name costs by the command, and by the same question over a lasting connection.
CEPH = """
import json, rados, subprocess, time
def rate(ask, count):
    start = time.monotonic()
    for number in range(count):
        ask(f"era5/sst/c/{number}")
    return round(count / (time.monotonic() - start), 1)
with rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin") as cluster:
    pool = next(name for name in cluster.list_pools() if name.endswith("buckets.data"))
    command = ["ceph", "osd", "map", pool]
    question = {"prefix": "osd map", "pool": pool, "format": "json"}
    print(json.dumps({
        "ceph_osd_map_names_per_second": rate(
            lambda name: subprocess.run([*command, name], check=True, capture_output=True), 10),
        "librados_names_per_second": rate(
            lambda name: cluster.mon_command(json.dumps({**question, "object": name}), b""), 2000),
    }))
"""


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
    for name, way in (("groups", cluster_map.pgs_of_grid), ("hosts", cluster_map.hosts_of_grid)):
        # What comes is dropped at once, as a reader of a stream does.
        step = lambda way=way: [None for _ in way("alice", "era5/sst/c/", GRID)]  # type: ignore[misc]  # noqa: E731
        figures[f"zarr_grid_{name}_keys_per_second"] = round(rate(step, math.prod(GRID)))
    figures["placement_keys_per_second"] = figures["zarr_hosts_keys_per_second"]
    figures |= ceph_rates()
    for name, figure in figures.items():
        print(f"{name:40} {figure:14,.0f}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n")
    add({"placement_keys_per_second": figures["placement_keys_per_second"]})


if __name__ == "__main__":
    main()
