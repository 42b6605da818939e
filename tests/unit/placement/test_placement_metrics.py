"""The service's metrics, as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families
from served import Served

PREFIX = "appliance_placement_"
KINDS = {
    "epoch": "gauge",
    "buckets": "gauge",
    "groups": "gauge",
    "map_bytes": "gauge",
    "age_seconds": "gauge",
    "refresh_seconds": "gauge",
    "failures": "counter",
    "layouts": "counter",
    "tokens": "counter",
    "answers": "counter",
}


def test_every_figure_has_its_name_and_kind(running: Served) -> None:
    running.service.refresher.refresh()
    running.request("/v1/map")
    running.request("/v1/nowhere")
    status, headers, body = running.request("/metrics")
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
    families = list(text_string_to_metric_families(body.decode()))
    assert {family.name: family.type for family in families} == {PREFIX + name: kind for name, kind in KINDS.items()}
    samples = {(entry.name, *entry.labels.values()): entry.value for family in families for entry in family.samples}
    assert samples[f"{PREFIX}epoch",] == running.service.refresher.current().map.epoch
    assert samples[f"{PREFIX}failures_total",] == 0
    assert samples[f"{PREFIX}answers_total", "MapPage", "200"] == 1
    assert samples[f"{PREFIX}tokens_total", "accepted"] == 0


def test_before_the_first_map_there_are_no_figures_of_it(running: Served) -> None:
    families = text_string_to_metric_families(running.request("/metrics")[2].decode())
    assert {PREFIX + name for name in KINDS} - {family.name for family in families} == {
        PREFIX + name for name in ("epoch", "buckets", "groups", "map_bytes", "age_seconds")
    }
