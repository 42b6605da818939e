"""The placement service's metrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from appliance.placement.service.authentication import Authenticator
from appliance.placement.service.layout_lookup import LayoutLookup
from appliance.placement.service.map_refresher import MapRefresher

PREFIX = "appliance_placement_"


class PlacementCollector:
    """Reads the figures where they are kept, each time that Prometheus asks.

    ``answers`` counts the service's answers by page and status.
    """

    def __init__(
        self,
        refresher: MapRefresher,
        layouts: LayoutLookup,
        authenticator: Authenticator,
        answers: Mapping[tuple[str, int], int],
    ) -> None:
        self.refresher, self.layouts, self.authenticator, self.answers = refresher, layouts, authenticator, answers

    def registry(self) -> CollectorRegistry:
        """Return a registry of these figures alone: of the process itself its unit's cgroup tells more."""
        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client calls this)."""
        if self.refresher.encoded is not None:
            cluster_map = self.refresher.encoded.map
            groups = sum(pool.pg_num for pool in cluster_map.pools.values())
            yield _gauge("epoch", "Epoch of the OSD map that is handed out.", cluster_map.epoch)
            yield _gauge("buckets", "Buckets in the map.", len(cluster_map.buckets))
            yield _gauge("groups", "Placement groups in the map.", groups)
            yield _gauge("map_bytes", "Size of the map as JSON.", len(self.refresher.encoded.body))
        age = self.refresher.age()
        if age is not None:
            yield _gauge("age_seconds", "Seconds since the cluster confirmed the map.", age)
        yield _gauge("refresh_seconds", "Duration of the last look at the cluster.", self.refresher.seconds)
        failures = "Looks at the cluster that failed."
        yield CounterMetricFamily(f"{PREFIX}failures", failures, value=self.refresher.failures)
        yield _results("layouts", "Objects whose layout was asked for.", self.layouts.counts)
        yield _results("tokens", "Callers' tokens that the gateway was asked about.", self.authenticator.counts)
        answers = CounterMetricFamily(f"{PREFIX}answers", "Answers to clients.", labels=("page", "status"))
        for (page, status), count in sorted(self.answers.items()):
            answers.add_metric((page, str(status)), count)
        yield answers


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)


def _results(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=("result",))
    for result, count in counts.items():
        family.add_metric((result,), count)
    return family
