"""What is simulated, what comes out, and the maps that it is simulated on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from appliance.placement import Bucket, PlacementMap, Pool

POOL, BUCKET = 7, "simulated"
PGS_PER_HOST = 100  # placement groups that a host holds a replica of, as Ceph's autoscaler aims at for an OSD
OBJECT_BYTES = 8 * 2**20
DISK_RATE = 500e6  # bytes/s at which one slot reads and works on an object of its own host
CARD_RATE = 125e6  # bytes/s at which one slot gets an object of another host: a card of 1 Gbit/s
JITTER = 0.25  # tasks take their time, plus or minus up to this part of it


@dataclass(frozen=True)
class Cell:
    """One cluster and one analysis: a number of hosts, replicas, slots for each host, objects a task, chunks."""

    hosts: int
    replicas: int
    slots: int
    objects: int
    chunks: int

    @property
    def tasks(self) -> int:
        """Tasks of the analysis; objects that do not fill one are left out."""
        return self.chunks // self.objects

    def check(self) -> None:
        """Raise ``ValueError`` for a cell that cannot be: naming the variable, its value and the way out."""
        for name, value in asdict(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}; give 1 or more")
        if self.replicas > self.hosts:
            raise ValueError(f"replicas is {self.replicas}, on {self.hosts} hosts; give {self.hosts} or fewer")
        if self.tasks < 1:
            raise ValueError(
                f"chunks is {self.chunks}, less than one task's {self.objects}; give {self.objects} or more"
            )


@dataclass(frozen=True)
class Result:
    """What came out of a cell.

    Attributes:
        tasks_run: tasks that were simulated.
        sampled: these were the first of the analysis, with as many more queued behind them: its steady state,
            without its end. Otherwise they are the whole of it.
        place_us: CPU microseconds for each chunk from its key to its hosts.
        decide_us: CPU microseconds for each chunk to queue its task and to take it out, the simulator's own
            bookkeeping included.
        balance: bytes read by the host that read most, as a multiple of the mean.
        local_share: part of the bytes that were read on a host that holds them.
        best_share: the same if every task had run on a host that holds most of it.
        wire_per_byte: bytes that crossed the network for each byte read.
        wire_per_byte_blind: the same if every task ran on any host, as with the stock scheduler.
        idle_share: part of the slots' time without work.
    """

    cell: Cell
    tasks_run: int
    sampled: bool
    place_us: float
    decide_us: float
    balance: float
    local_share: float
    best_share: float
    wire_per_byte: float
    wire_per_byte_blind: float
    idle_share: float

    def to_dict(self) -> dict[str, Any]:
        """For a machine: the cell's and the result's fields in one."""
        fields = asdict(self)
        return {**fields.pop("cell"), **{k: round(v, 5) if isinstance(v, float) else v for k, v in fields.items()}}


def make_map(hosts: int, replicas: int, seed: int) -> PlacementMap:
    """A map whose hosts hold equally many placement groups, as Ceph's balancer leaves it; one OSD stands for a host."""
    chooser = np.random.default_rng(seed)
    pg_num = 1 << max(5, int(np.ceil(np.log2(hosts * PGS_PER_HOST / replicas))))
    rounds = -(-pg_num * replicas // hosts)
    dealt = np.concatenate([chooser.permutation(hosts) for _ in range(rounds)])[: pg_num * replicas]
    acting = dealt.reshape(pg_num, replicas).astype(np.int32)
    # Where a row goes over the end of one deal into the next, it may hold a host twice: then it is dealt anew.
    for row in np.flatnonzero([len(set(row)) < replicas for row in acting.tolist()]):
        acting[row] = chooser.choice(hosts, replicas, replace=False)
    names = [f"store{number:04}" for number in range(hosts)]
    return PlacementMap(
        epoch=1,
        cluster="00000000-0000-4000-8000-000000000000",
        chunk_bytes=OBJECT_BYTES,
        osds=dict(enumerate(names)),
        addresses={name: name for name in names},
        pools={POOL: Pool(POOL, "data", False, pg_num, acting)},
        buckets={BUCKET: Bucket("00000000-0000-4000-8000-000000000000.4137.1", POOL, "default-placement")},
    )
