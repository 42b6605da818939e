"""What a storage host's OSDs give without a gateway. Run on that host, as root: `python3 - HOST CHUNK_MIB`.

The first line of standard input names pool and objects as JSON; each further line asks for one measurement, which is
answered by MiB/s: ``librados`` reads those objects, ``rados_bench_N`` such objects in a pool on this host's OSDs alone,
with N requests under way. Pool and settings are put back at the end, however it comes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import rados

POOL = "appliance-bench-one-host"
OBJECTS_MIN = 32  # rados bench fails where there are fewer objects than requests under way
OPTIONS = ("mon_allow_pool_size_one", "mon_allow_pool_delete")


def ceph(*words: str) -> str:
    """Run a command of the cluster's; raises RuntimeError with what it says."""
    done = subprocess.run(["ceph", *words], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"ceph {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def bench(*words: str) -> float:
    """Run `rados bench`; returns MiB/s, which it calls MB/sec."""
    command = ["rados", "-p", POOL, "bench", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"Bandwidth \(MB/sec\): +([0-9.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"rados bench {' '.join(words)}: {done.stderr.strip()[-500:]} {done.stdout[-500:]}")
    return float(found[1])


def make(host: str, chunk_bytes: int, count: int) -> None:
    """Make the pool and fill it."""
    for option in OPTIONS:
        ceph("config", "set", "mon", option, "true")
    remove()
    ceph("osd", "crush", "rule", "create-replicated", POOL, host, "osd")
    ceph("osd", "pool", "create", POOL, "8", "8", "replicated", POOL, "--autoscale-mode=off")
    ceph("osd", "pool", "set", POOL, "size", "1", "--yes-i-really-mean-it")
    ceph("osd", "pool", "application", "enable", POOL, "benchmark")
    size = ("-b", str(chunk_bytes), "-O", str(chunk_bytes), "--max-objects", str(max(count, OBJECTS_MIN)))
    bench("60", "write", *size, "-t", "4", "--no-cleanup")


def remove() -> None:
    """Remove pool and rule, where they are."""
    if POOL in ceph("osd", "pool", "ls").split():
        ceph("osd", "pool", "rm", POOL, POOL, "--yes-i-really-really-mean-it")
    if POOL in ceph("osd", "crush", "rule", "ls").split():
        ceph("osd", "crush", "rule", "rm", POOL)


def read(pool: str, names: Sequence[str], chunk_bytes: int) -> float:
    """Read objects one after the other; returns MiB/s."""
    with (
        rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin") as cluster,
        cluster.open_ioctx(pool) as io,
    ):
        begun = time.perf_counter()
        for name in names:
            if len(io.read(name, chunk_bytes)) != chunk_bytes:
                raise RuntimeError(f"{name}: is not {chunk_bytes} bytes long")
        return chunk_bytes * len(names) / 2**20 / (time.perf_counter() - begun)


def main() -> None:
    """Answer what is asked."""
    host, chunk_bytes = sys.argv[1], int(sys.argv[2]) * 2**20
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    before = {option: ceph("config", "get", "mon", option) for option in OPTIONS}
    try:
        make(host, chunk_bytes, len(given["objects"]))
        for line in sys.stdin:
            asked: str = json.loads(line)
            if asked == "librados":
                said = read(given["pool"], given["objects"], chunk_bytes)
            else:
                said = bench("60", "seq", "-t", asked.rpartition("_")[2])
            print(json.dumps(said), flush=True)
    finally:
        remove()
        for option, value in before.items():
            if value == "false":  # which is the default of both
                ceph("config", "rm", "mon", option)
            else:
                ceph("config", "set", "mon", option, value)


main()
