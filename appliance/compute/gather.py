"""Gathers what a cluster's workers read: from their heartbeats, and from themselves when a report is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from appliance.compute.reads import ReadReport, build
from appliance.compute.reasons import Foreseen

EXTENSION = "appliance-reads"


class SchedulerReads:
    """The scheduler's memory of what its workers read, those that are gone among them.

    Args:
        scheduler: whose workers are asked.
        foreseen: what the scheduler expected of their reads.
    """

    def __init__(self, scheduler: Any, foreseen: Foreseen):
        self._scheduler, self._foreseen = scheduler, foreseen
        self._last: dict[str, dict[str, Any]] = {}

    def heartbeat(self, ws: Any, data: dict[str, Any]) -> None:
        """Called by the scheduler for each heartbeat of a worker that sends counts."""
        if data:
            # The id is one worker's for its life, while an address may be used again.
            self._last[ws.server_id] = data

    async def gather(self) -> list[dict[str, Any]]:
        """The counts of all workers: of those that run as of now, of those that are gone as of their last heartbeat."""
        ids = {address: ws.server_id for address, ws in self._scheduler.workers.items()}
        answers = await self._scheduler.broadcast(msg={"op": EXTENSION}, on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, dict) and answer.get("host") and address in ids:
                self._last[ids[address]] = answer
        return self._counts()

    def report(self) -> ReadReport:
        """The report as of the last heartbeats: nobody is asked."""
        return build(self._counts())

    def _counts(self) -> list[dict[str, Any]]:
        return [{**counts, "foresight": self._foreseen.of(worker)} for worker, counts in self._last.items()]


def gather_on(scheduler: Any, foreseen: Foreseen) -> None:
    """Make a scheduler gather what its workers read, and show it at its /metrics."""
    gathered = SchedulerReads(scheduler, foreseen)
    scheduler.extensions[EXTENSION] = gathered
    scheduler.handlers[EXTENSION.replace("-", "_")] = gathered.gather
    _show(gathered)


def collect(client: Any = None) -> ReadReport:
    """See ``appliance.compute.report``."""
    if client is None:
        from distributed import default_client

        client = default_client()
    asked = getattr(client.scheduler, EXTENSION.replace("-", "_"))
    try:
        counts = client.sync(asked)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"The cluster behind {client!r} does not count reads; start it through the Gateway."
        ) from error
    return build(counts)


class Metrics:
    """The report as Prometheus metrics of the scheduler: gauges, since a late heartbeat may correct a reason."""

    def __init__(self) -> None:
        self.gathered: SchedulerReads | None = None

    def describe(self) -> list[Any]:
        """Nothing beforehand: a registry need not ask the workers' counts for the names."""
        return []

    def collect(self) -> Iterator[Any]:
        """Called by the registry for each look at /metrics."""
        from prometheus_client.core import GaugeMetricFamily

        if self.gathered is None:
            return
        report = self.gathered.report()
        yield GaugeMetricFamily("appliance_reads_local_share", "Part of the reads that were local", report.local_share)
        yield GaugeMetricFamily(
            "appliance_reads_balance", "Bytes that the busiest host read, by the mean over the hosts", report.balance
        )
        yield GaugeMetricFamily(
            "appliance_wire_bytes", "Bytes that crossed the network for the analysis", report.wire_bytes
        )
        reasons = GaugeMetricFamily("appliance_remote_reads", "Reads that were not local, by reason", labels=["reason"])
        for reason, reads in report.reasons.items():
            reasons.add_metric([reason], reads)
        yield reasons
        hosts = GaugeMetricFamily(
            "appliance_host_bytes", "Bytes of each host: read, and in and out over its card", labels=["host", "what"]
        )
        for row in report.rows:
            for what, nbytes in (("read", row.bytes), ("in", row.bytes_in), ("out", row.bytes_out)):
                hosts.add_metric([row.host, what], nbytes)
        yield hosts


_metrics = Metrics()


def _show(gathered: SchedulerReads) -> None:
    """Add the metrics to the process's registry once; the newest scheduler in the process is the one that is shown."""
    registered, _metrics.gathered = _metrics.gathered is not None, gathered
    if not registered:
        with contextlib.suppress(ImportError):
            from prometheus_client import REGISTRY

            REGISTRY.register(_metrics)
