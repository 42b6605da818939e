"""dask-gateway's backend: schedulers and workers are units of the user on the storage hosts.

The gateway runs without privileges on the head and asks the launcher of a host, over an ssh key that can do nothing
else (``appliance.launching.launcher``). Workers are spread evenly over the hosts, so a lost one is replaced where
it was; a host that does not answer is passed over for a while.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from aiohttp import web
from dask_gateway_server.backends.base import ClusterConfig, PublicException
from dask_gateway_server.backends.db_base import DBBackendBase, JobStatus
from dask_gateway_server.options import Float, Integer, Options, String
from dask_gateway_server.routes import api_handler
from traitlets import Dict, Instance, List, Unicode
from traitlets import Float as FloatTrait

from appliance.launching.allowance import Amount, refused_cluster, refused_workers, used, workers_left
from appliance.launching.protocol import (
    Answer,
    Failed,
    Refused,
    RefusedError,
    Request,
    Running,
    Start,
    StartScheduler,
    StartWorker,
    Status,
    Stop,
    parse_answer,
    unit_name,
)
from appliance.launching.targets import PORT_START, foreign_targets, tls_target
from appliance.researcher.environment import dashboard_route

GIB = 2**30

# What dask-gateway keeps of a cluster or worker for this backend: the host that was asked.
State = dict[str, str]


class SystemdClusterConfig(ClusterConfig):  # type: ignore[misc]  # dask-gateway-server has no types
    """What a user chose for a cluster."""

    environment_path = Unicode(help="The store path that schedulers and workers run from.", config=True)


class HostDownError(Exception):
    """The host did not answer; another one may."""


class LaunchError(Exception):
    """The host's launcher refused, or systemd could not start the unit."""


class SystemdBackend(DBBackendBase):  # type: ignore[misc]  # dask-gateway-server has no types
    """Starts clusters as transient systemd units through the launchers of the storage hosts."""

    hosts = Dict(help="Name of each storage host to the address that ssh reaches it at.", config=True)
    ssh_command = List(Unicode(), help="ssh with its options; the address and nothing more is appended.", config=True)
    host_down_seconds = FloatTrait(60.0, help="How long a host that did not answer is passed over.", config=True)
    launch_timeout = FloatTrait(30.0, help="Seconds to wait for a host's launcher.", config=True)

    most = Instance(
        Amount, help="What all clusters of one researcher have at most; None for any.", config=True, allow_none=True
    )

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._down: dict[str, float] = {}

    # What a researcher may have

    async def setup(self, app: Any) -> None:
        """Serve researchers what they have and may have, beside dask-gateway's own answers."""
        app.router.add_get("/api/v1/allowance", api_handler(_tell_allowance, user_authenticated=True))
        await super().setup(app)

    def allowance(self, user: str) -> dict[str, dict[str, int] | None]:
        """Return what a researcher's clusters have (``used``) and may have (``most``)."""
        have = used(self.db.list_clusters(username=user))
        return {"used": have.to_dict(), "most": self.most.to_dict() if self.most else None}

    async def start_cluster(self, user: Any, cluster_options: Any) -> str:
        """Start a cluster; raises `PublicException` where the researcher has as much as one may have."""
        if self.most:
            _, config = await self.process_cluster_options(user, cluster_options)
            refusal = refused_cluster(self.most, used(self.db.list_clusters(username=user.name)), config)
            if refusal:
                raise PublicException(refusal)
        name: str = await super().start_cluster(user, cluster_options)
        return name

    async def forward_message_to_scheduler(self, cluster: Any, msg: dict[str, Any]) -> None:
        """Tell a scheduler how many workers are wanted; raises `PublicException` where these are too many.

        An adaptive cluster is told how many it can have: it asks for what it needs, up to that.
        """
        record = self.db.get_cluster(cluster.name)
        if self.most and record is not None:
            others = self._others(record)
            least = msg["count"] if msg["op"] == "scale" else msg["minimum"] or 0
            refusal = refused_workers(self.most, others, record.config, least)
            if refusal:
                raise PublicException(refusal)
            if msg["op"] == "adapt":
                left = workers_left(self.most, others, record.config)
                msg = {**msg, "maximum": left if msg["maximum"] is None else min(msg["maximum"], left)}
        await super().forward_message_to_scheduler(cluster, msg)

    def _others(self, record: Any) -> Amount:
        return used(one for one in self.db.list_clusters(username=record.username) if one is not record)

    # Where units go

    def hosts_by_load(self, load: Counter[str]) -> list[str]:
        """All hosts, the least loaded first, in the inventory's order where they are even; hosts that are down last."""
        now = time.monotonic()
        return sorted(self.hosts, key=lambda host: (self._down.get(host, 0.0) > now, load[host]))

    def _scheduler_hosts(self) -> list[str]:
        return self.hosts_by_load(Counter(c.state["host"] for c in self.db.active_clusters() if c.state.get("host")))

    def _worker_hosts(self, worker: Any) -> list[str]:
        # A worker counts as long as it is meant to run, so that the replacement of a lost one finds its place free.
        others = [
            w
            for w in worker.cluster.workers.values()
            if w is not worker and w.target <= JobStatus.RUNNING and w.status < JobStatus.STOPPED
        ]
        return self.hosts_by_load(Counter(w.state["host"] for w in others if w.state and w.state.get("host")))

    # What dask-gateway calls

    async def do_start_cluster(self, cluster: Any) -> AsyncIterator[State]:
        """Start the scheduler on the host with the fewest of them."""
        config = cluster.config
        request = StartScheduler(
            **self._start_fields(cluster),
            memory=config.scheduler_memory,
            cores=config.scheduler_cores,
            heartbeat_period=self.cluster_heartbeat_period,
            adaptive_period=config.adaptive_period,
            idle_timeout=config.idle_timeout,
        )
        async for state in self._start(request, self._scheduler_hosts):
            yield state

    async def do_start_worker(self, worker: Any) -> AsyncIterator[State]:
        """Start a worker on the host with the fewest of this cluster's."""
        config = worker.cluster.config
        request = StartWorker(
            **self._start_fields(worker.cluster),
            worker=worker.name,
            memory=config.worker_memory,
            cores=config.worker_cores,
            threads=config.worker_threads,
            scheduler_address=worker.cluster.scheduler_address,
        )
        async for state in self._start(request, lambda: self._worker_hosts(worker)):
            yield state

    async def do_stop_cluster(self, cluster: Any) -> None:
        """Stop the scheduler's unit, and lead nobody to where its dashboard was."""
        try:
            await self._stop(cluster, cluster.state)
        finally:
            await self.proxy.remove_route(kind="SNI", sni=dashboard_route(cluster.name))

    async def do_stop_worker(self, worker: Any) -> None:
        """Stop a worker's unit."""
        await self._stop(worker.cluster, worker.state, worker.name)

    async def do_check_clusters(self, clusters: list[Any]) -> list[bool]:
        """Whether the units of clusters that are still starting are alive."""
        return await self._alive([(cluster, cluster.state, "") for cluster in clusters])

    async def do_check_workers(self, workers: list[Any]) -> list[bool]:
        """Whether the units of workers that are still starting are alive."""
        return await self._alive([(worker.cluster, worker.state, worker.name) for worker in workers])

    # Where the proxy leads

    async def on_cluster_heartbeat(self, cluster_name: str, msg: dict[str, Any]) -> None:
        """Take a sign of life of a scheduler that names no address but its own.

        The scheduler is its researcher's own program: what it asks for is held against the limits here too.

        Raises:
            PublicException: it names another; nothing of the heartbeat counts.
        """
        cluster = self.db.get_cluster(cluster_name)
        host = self.hosts.get((cluster.state or {}).get("host"), "") if cluster else ""
        port_start = int(PORT_START.read_text())
        if cluster and (foreign := foreign_targets(msg, host, port_start)):
            self.log.warning("Cluster %s of %s: %s is not its own", cluster_name, cluster.username, ", ".join(foreign))
            raise PublicException(f"{', '.join(foreign)}: name a port of this scheduler's own at {host}")
        if cluster and self.most:
            msg = {**msg, "count": min(msg["count"], workers_left(self.most, self._others(cluster), cluster.config))}
        await super().on_cluster_heartbeat(cluster_name, msg)

    async def _check_cluster_proxied(self, cluster: Any) -> None:
        """Tell the proxy of a cluster that runs.

        The parent class gives the dashboard a path of the proxy for HTTP, where whoever knows it may look, and where
        the scheduler's pages run on the hub's origin. Here it has a name of the proxy for TLS, which hands bytes to
        and fro: the scheduler itself asks for the certificate (`appliance.compute.owner_http`).
        """
        if cluster.added_to_proxies:
            return
        await self.proxy.add_route(kind="SNI", sni=cluster.name, target=cluster.scheduler_address)
        if cluster.dashboard_address:
            await self.proxy.add_route(
                kind="SNI", sni=dashboard_route(cluster.name), target=tls_target(cluster.dashboard_address)
            )
        cluster.added_to_proxies = True

    # Talking to launchers

    def _start_fields(self, cluster: Any) -> dict[str, Any]:
        """Return what both kinds of units are told of their cluster."""
        return {
            "user": cluster.username,
            "cluster": cluster.name,
            "environment": cluster.config.environment_path,
            "token": cluster.token,
            "tls_cert": cluster.tls_cert.decode(),
            "tls_key": cluster.tls_key.decode(),
        }

    async def _start(self, request: Start, hosts: Callable[[], list[str]]) -> AsyncIterator[State]:
        """Start a unit on the best of ``hosts()`` that answers; yield the state that dask-gateway keeps."""
        unanswered = None
        for _ in self.hosts:
            # Chosen and told in one go: two workers that start at once do not choose the same place.
            host = hosts()[0]
            yield {"host": host}
            try:
                await self.ask(host, request)
                return
            except HostDownError as error:
                self.log.warning("%s", error)
                self._down[host] = time.monotonic() + self.host_down_seconds
                unanswered = error
        raise LaunchError(f"no storage host answers; the last one: {unanswered}")

    async def _stop(self, cluster: Any, state: State | None, worker: str = "") -> None:
        if state and state.get("host") in self.hosts:
            await self.ask(state["host"], Stop(user=cluster.username, cluster=cluster.name, worker=worker))

    async def _alive(self, units: Iterable[tuple[Any, State | None, str]]) -> list[bool]:
        """Whether each unit runs, given as its cluster, its state and the name of a worker or nothing."""
        wanted = [
            (state["host"], cluster.username, cluster.name, worker)
            if state and state.get("host") in self.hosts
            else None
            for cluster, state, worker in units
        ]
        running: set[str] = set()

        async def ask(host: str, user: str, cluster: str) -> None:
            try:
                answer = await self.ask(host, Status(user=user, cluster=cluster))
            except (HostDownError, LaunchError) as error:
                self.log.warning("%s", error)
                return
            if isinstance(answer, Running):
                running.update(answer.units)

        await asyncio.gather(*(ask(*asked) for asked in {unit[:3] for unit in wanted if unit}))
        return [bool(unit and unit_name(*unit[1:]) in running) for unit in wanted]

    async def ask(self, host: str, request: Request) -> Answer:
        """Send a request to a host's launcher.

        Raises:
            HostDownError: the host does not answer.
            LaunchError: its launcher refused the request or failed; the message says which.
        """
        process = await asyncio.create_subprocess_exec(
            *[*self.ssh_command, self.hosts[host]],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(
                process.communicate(request.to_json().encode()), self.launch_timeout
            )
        except TimeoutError:
            process.kill()
            raise HostDownError(f"{host} did not answer within {self.launch_timeout} s") from None
        try:
            answer = parse_answer(output)
        except RefusedError:
            raise HostDownError(
                f"{host}: ssh ended with {process.returncode}: {errors.decode(errors='replace').strip()[-300:]}"
            ) from None
        if isinstance(answer, Refused | Failed):
            raise LaunchError(f"{host}: {answer.reason}")
        return answer


async def _tell_allowance(request: web.Request) -> web.Response:
    return web.json_response(request.app["backend"].allowance(request["user"].name))


def cluster_options(
    environments: list[str], memory_gib_max: float, cores_max: int, memory_gib: float = 2.0, cores: int = 1
) -> Options:
    """The options that users have, with the facility's limits.

    Args:
        environments: what is offered: store paths, or links to them that are followed when a cluster starts.
        memory_gib_max: most memory of a worker, GiB.
        cores_max: most cores of a worker; it has as many threads.
        memory_gib: memory of a worker where nothing is said, GiB.
        cores: cores of a worker where nothing is said.
    """

    def handler(options: Any) -> dict[str, Any]:
        return {
            "environment_path": check_environment(options.environment, environments),
            "worker_memory": int(options.worker_memory * GIB),
            "worker_cores": options.worker_cores,
            "worker_threads": options.worker_cores,
        }

    return Options(
        String("environment", default="", label="Environment (store path; the notebook's own)"),
        Float("worker_memory", default=memory_gib, min=0.25, max=memory_gib_max, label="Memory of a worker (GiB)"),
        Integer("worker_cores", default=cores, min=1, max=cores_max, label="Cores of a worker"),
        handler=handler,
    )


def check_environment(path: str, environments: list[str]) -> str:
    """Return ``path`` if the facility offers it.

    Raises:
        PublicException: it does not; the message reaches the user.
    """
    offered = [os.path.realpath(one) for one in environments]
    if path in offered:
        return path
    raise PublicException(
        f"The environment {path or '(none)'} is not one of this facility's, so its workers would not run what your "
        f"notebook runs. Offered: {', '.join(offered)}. A notebook server that was started before the environment was "
        "changed has to be stopped and started again (File > Hub Control Panel)."
    )
