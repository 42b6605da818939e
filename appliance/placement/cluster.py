"""What the placement service asks the cluster, and how a map is made of the answers."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from appliance.placement.errors import ClusterError
from appliance.placement.map import NOBODY, Acting, Pool

CRUSH_ITEM_NONE = 2**31 - 1  # stands in an acting set where no OSD could be found (src/crush/crush.h)
_PG_DUMP = {"prefix": "pg dump", "dumpcontents": ["pgs_brief"], "format": "json"}


@dataclass(frozen=True)
class Access:
    """How to reach the cluster: Ceph's user and its files, and the Python that has Ceph's bindings."""

    user: str
    conf: Path
    keyring: Path
    python: str = "/usr/bin/python3"
    timeout: int = 10  # seconds for one question


@dataclass
class Monitors:
    """A lasting connection to the monitors, made when first needed and anew after a failure. For one thread."""

    access: Access
    _process: subprocess.Popen[bytes] | None = None
    _pending: bytes = b""

    def ask(self, command: Mapping[str, object], to: str = "mon") -> Any:
        """Return the parsed JSON answer of a monitor or (``to="mgr"``) of the manager, or raise ``ClusterError``."""
        process = self._connect()
        question = json.dumps({"to": to, "command": dict(command)}) + "\n"
        try:
            stdin = cast(IO[bytes], process.stdin)
            stdin.write(question.encode())
            stdin.flush()
        except BrokenPipeError:
            raise self._lost(process, "the connection to the monitors ended") from None
        answer = self._line(process, f"no answer to {command['prefix']!r}")
        if answer["code"]:
            why = answer["status"] or os.strerror(answer["code"])
            raise ClusterError(f"client.{self.access.user} asked {command['prefix']!r}: {why}")
        try:
            return json.loads(answer["out"])
        except ValueError as error:
            raise ClusterError(f"the answer to {command['prefix']!r} is no JSON ({error})") from error

    def close(self) -> None:
        """End the connection."""
        process, self._process, self._pending = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()

    def _connect(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            script = Path(__file__).with_name("monitor.py")
            access = self.access
            arguments = ["--id", access.user, "--conf", str(access.conf), "--keyring", str(access.keyring)]
            # -I: this script's folder, with modules of common names in it, stays off the other Python's path.
            command = [access.python, "-I", str(script), *arguments, "--timeout", str(access.timeout)]
            pipe = subprocess.PIPE
            try:
                self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
            except OSError as error:
                raise ClusterError(f"{access.python} cannot be started: {error}") from error
            self._line(self._process, "no connection to the monitors")
        return self._process

    def _line(self, process: subprocess.Popen[bytes], otherwise: str) -> dict[str, Any]:
        stdout = cast(IO[bytes], process.stdout)
        deadline = time.monotonic() + self.access.timeout + 2  # the script gives up first, and says why
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise self._lost(process, f"{otherwise} in {self.access.timeout} s")
            piece = os.read(stdout.fileno(), 2**20)
            if not piece:
                raise self._lost(process, otherwise)
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        document: dict[str, Any] = json.loads(line)
        return document

    def _lost(self, process: subprocess.Popen[bytes], why: str) -> ClusterError:
        self._process, self._pending = None, b""
        process.kill()
        said = process.communicate()[1].decode(errors="replace").strip()
        return ClusterError(f"{why}: {said.splitlines()[-1]}" if said else why)


@dataclass(frozen=True)
class Table:
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


def read_table(monitors: Monitors, pool_names: Iterable[str]) -> Table:
    """Read OSDs, hosts, and the placement groups of the named pools (unknown names are left out)."""
    dump = monitors.ask({"prefix": "osd dump", "format": "json"})
    tree = monitors.ask({"prefix": "osd tree", "format": "json"})
    groups = monitors.ask(_PG_DUMP, to="mgr")
    return make_table(dump, tree, groups, set(pool_names))


def make_table(dump: Mapping[str, Any], tree: Mapping[str, Any], groups: Any, pool_names: set[str]) -> Table:
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
    return Table(
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


def _pool(entry: Mapping[str, Any], rows: Mapping[int, list[int]], profiles: Mapping[str, Any]) -> Pool:
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


def _address(osd: Mapping[str, Any]) -> str | None:
    for entry in osd.get("public_addrs", {}).get("addrvec", []):
        address = str(entry["addr"]).rpartition(":")[0].strip("[]")
        if address and address not in ("0.0.0.0", "::"):  # noqa: S104 - what an OSD that never started has
            return address
    return None
