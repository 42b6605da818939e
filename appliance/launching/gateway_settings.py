"""What a site says about its gateway: one JSON file, checked as a whole before a gateway is started with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from appliance.checked_json import (
    AbsolutePaths,
    Check,
    Port,
    PositiveNumber,
    PositiveWhole,
    Seconds,
    Text,
    Url,
    check_file,
    is_text,
    read_file,
)

Hosts = Annotated[
    dict[str, str],
    Check(
        lambda value: isinstance(value, dict) and bool(value) and all(map(is_text, (*value, *value.values()))),
        "give the address of each storage host by its name",
    ),
]


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """The gateway's settings.

    Attributes:
        hosts: name of each storage host to the address that ssh reaches it at.
        ssh_port: where sshd listens on each of them.
        environments: that clusters may run from: store paths, or links to them that are followed at each start.
        hub_api_url: the hub's API, which is asked who the bearer of a token is.
        server_port: where the gateway itself listens, on loopback.
        http_port: where its proxy for HTTP listens.
        scheduler_port: where its proxy to the schedulers listens.
        address: of this machine, as the storage hosts see it.
        worker_memory_gib: memory of a worker where the researcher says nothing, in GiB.
        worker_memory_gib_max: the most memory of a worker.
        worker_cores: cores of a worker where the researcher says nothing.
        worker_cores_max: the most cores of a worker.
        scheduler_memory_gib: memory of a scheduler, in GiB.
        workers_max: the most workers of one cluster.
        researcher_clusters_max: the most clusters of one researcher.
        researcher_workers_max: the most workers of all of one researcher's clusters.
        researcher_cores_max: the most cores of these, schedulers included.
        researcher_memory_gib_max: the most memory of these, schedulers included.
        idle_timeout: after which a cluster without work is stopped; 0 for never.
        heartbeat_period: between two signs of life of a cluster.
    """

    hosts: Hosts
    ssh_port: Port
    environments: AbsolutePaths
    hub_api_url: Url
    server_port: Port
    http_port: Port
    scheduler_port: Port
    address: Text
    worker_memory_gib: PositiveNumber
    worker_memory_gib_max: PositiveNumber
    worker_cores: PositiveWhole
    worker_cores_max: PositiveWhole
    scheduler_memory_gib: PositiveNumber
    workers_max: PositiveWhole
    researcher_clusters_max: PositiveWhole
    researcher_workers_max: PositiveWhole
    researcher_cores_max: PositiveWhole
    researcher_memory_gib_max: PositiveNumber
    idle_timeout: Seconds
    heartbeat_period: PositiveWhole

    @classmethod
    def from_file(cls, path: Path) -> GatewaySettings:
        """Read the settings; raise `appliance.checked_json.FaultyError` where they have a fault."""
        return read_file(cls, path)

    def faults(self) -> list[str]:
        """Return what is wrong between the settings, one line each."""
        faults = []
        for name in ("worker_memory_gib", "worker_cores"):
            value, most = getattr(self, name), getattr(self, f"{name}_max")
            if value > most:
                faults.append(f"{name} = {value}: is more than {name}_max = {most}")
        for name, least, unit in (
            ("researcher_memory_gib_max", self.scheduler_memory_gib + self.worker_memory_gib, " GiB"),
            ("researcher_cores_max", 1 + self.worker_cores, " cores"),
        ):
            value = getattr(self, name)
            if value < least:
                faults.append(f"{name} = {value}: a scheduler and one worker take {least}{unit}; give at least that")
        if len({self.server_port, self.http_port, self.scheduler_port}) < 3:
            faults.append("server_port, http_port, scheduler_port: two of them are the same; each listens by itself")
        return faults


main = partial(check_file, GatewaySettings)

if __name__ == "__main__":
    raise SystemExit(main())
