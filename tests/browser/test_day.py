"""A researcher's day: log in, start a server, open the example, run all cells, and the figures are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from appliance.demo.analysis import Analysis, analyse
from appliance.demo.data import make_sst
from appliance.demo.facility import Facility
from appliance.demo.report import LARGEST_ERROR_KELVIN, LARGEST_WIRE_BYTES, SMALLEST_LOCAL_SHARE


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("day")


@pytest.fixture(scope="module")
def day(browser: Browser, facility: Facility, out: Path) -> Analysis:
    """The whole day of bob, on data that the project makes (the demo takes the real files)."""
    return analyse(browser, facility, "bob", [make_sst(out / "data" / "ostia_monthly.nc")], out, print)


def test_the_results_are_numpys(day: Analysis) -> None:
    assert day.max_abs_error <= LARGEST_ERROR_KELVIN
    assert day.made_max_abs_error <= LARGEST_ERROR_KELVIN


def test_chunks_are_read_on_hosts_that_hold_them(day: Analysis) -> None:
    assert day.reduction_bytes >= 2**30
    assert day.reads_local_share >= SMALLEST_LOCAL_SHARE


def test_next_to_nothing_crosses_the_machines_cards(day: Analysis) -> None:
    assert day.wire_bytes_per_byte_read <= LARGEST_WIRE_BYTES


def test_the_notebook_shows_maps_a_series_and_the_report(day: Analysis, out: Path) -> None:
    assert day.notebook_seconds > 0
    assert {path.name for path in out.glob("figure-*.png")} == {"figure-1.png", "figure-2.png", "figure-3.png"}
    notebook = json.loads((out / "notebook.ipynb").read_text(encoding="utf-8"))
    (report,) = [cell for cell in notebook["cells"] if cell["id"] == "report"]
    assert "text/html" in report["outputs"][0]["data"]
    words = [output["text"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "text" in output]
    assert not [text for text in words if "Warning" in text]
