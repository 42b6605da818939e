"""Collects what a cluster's workers read: from their heartbeats, and from themselves when a report is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from appliance.compute.reporting.report import ReadReport, WorkerCounts, build

if TYPE_CHECKING:
    from distributed import Client
    from distributed.scheduler import Scheduler, WorkerState
    from prometheus_client.core import Metric

    from appliance.compute.scheduling.expectations import Expectations

EXTENSION = "appliance-reads"


class ReadCollector:
    """The scheduler's memory of what its workers read, those that are gone among them.

    Args:
        scheduler: whose workers are asked.
        expectations: what the scheduler expected of their reads.
    """

    def __init__(self, scheduler: Scheduler, expectations: Expectations):
        self._scheduler, self._expectations = scheduler, expectations
        self._last: dict[str, WorkerCounts] = {}

    def heartbeat(self, ws: WorkerState, data: WorkerCounts | None) -> None:
        """Keep a worker's counts. The scheduler calls this for each heartbeat of a worker that sends some."""
        if data:
            # The id is one worker's for its life, while an address may be used again.
            self._last[ws.server_id] = data

    async def ask(self) -> list[WorkerCounts]:
        """Return the counts of all workers: as of now, and as of the last heartbeat of those that are gone."""
        ids = {address: ws.server_id for address, ws in self._scheduler.workers.items()}
        answers = await self._scheduler.broadcast(msg={"op": EXTENSION}, on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, dict) and answer.get("host") and address in ids:
                counts: WorkerCounts = answer  # type: ignore[assignment]  # it came over the network
                self._last[ids[address]] = counts
        return self._counts()

    def report(self) -> ReadReport:
        """Return the report as of the last heartbeats: nobody is asked."""
        return build(self._counts())

    def _counts(self) -> list[WorkerCounts]:
        return [{**counts, "expected": self._expectations.of(worker)} for worker, counts in self._last.items()]


def add_to(scheduler: Scheduler, expectations: Expectations) -> None:
    """Make a scheduler collect what its workers read, and show it at its /metrics."""
    collector = ReadCollector(scheduler, expectations)
    scheduler.extensions[EXTENSION] = collector
    scheduler.handlers[EXTENSION.replace("-", "_")] = collector.ask
    _show(collector)


def collect(client: Client | None = None) -> ReadReport:
    """Return the report of a cluster, see ``appliance.compute.report``."""
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


class ReportMetrics:
    """The report as Prometheus metrics of the scheduler: gauges, since a late heartbeat may correct a reason.

    Attributes:
        collector: whose report is shown; None for nothing.
    """

    def __init__(self) -> None:
        self.collector: ReadCollector | None = None

    def describe(self) -> list[Metric]:
        """Return nothing: a registry need not ask for the report to know the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. The registry calls this for each look at /metrics."""
        from prometheus_client.core import GaugeMetricFamily

        if self.collector is None:
            return
        report = self.collector.report()
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


_metrics = ReportMetrics()


def _show(collector: ReadCollector) -> None:
    """Add the metrics to the process's registry once; of several schedulers in a process the newest is shown."""
    from prometheus_client import REGISTRY

    if _metrics.collector is None:
        REGISTRY.register(_metrics)
    _metrics.collector = collector
