"""The demo fails when a figure that must hold does not, and never because of a time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from appliance.demo.report import DemoReport

GOOD = DemoReport(
    new_rack=True,
    site_seconds=10_000.0,
    second_run_seconds=10_000.0,
    second_run_changed=0,
    spawn_seconds=10_000.0,
    lab_seconds=10_000.0,
    new_cluster_seconds=10_000.0,
    notebook_seconds=10_000.0,
    reduction_seconds=10_000.0,
    reduction_bytes=2**30,
    reads_local_share=0.99,
    wire_bytes_per_byte_read=0.02,
    wire_bytes_by_machine={"head1": 1},
    max_abs_error=1e-5,
    made_max_abs_error=1e-5,
    data=["ostia_monthly.nc"],
)


def test_figures_at_their_bounds_hold_and_times_are_not_judged() -> None:
    assert GOOD.faults() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("second_run_changed", 1),
        ("reads_local_share", 0.9899),
        ("reads_local_share", float("nan")),
        ("wire_bytes_per_byte_read", 0.0201),
        ("max_abs_error", 1.1e-5),
        ("max_abs_error", float("nan")),
        ("made_max_abs_error", 1.1e-5),
        ("reduction_bytes", 2**30 - 1),
    ],
)
def test_a_figure_out_of_bounds_is_named_with_its_value(name: str, value: float) -> None:
    (fault,) = dataclasses.replace(GOOD, **{name: value}).faults()
    assert fault.startswith(f"{name} = {value}: must be ")


def test_the_report_is_one_object_with_the_figures_that_were_promised(tmp_path: Path) -> None:
    GOOD.write(tmp_path / "build" / "report.json")
    written = json.loads((tmp_path / "build" / "report.json").read_text())
    assert {
        "second_run_changed",
        "reads_local_share",
        "wire_bytes_per_byte_read",
        "max_abs_error",
        "site_seconds",
        "second_run_seconds",
        "spawn_seconds",
        "new_cluster_seconds",
    } <= written.keys()
