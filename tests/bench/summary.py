"""The benchmarks' promised figures, gathered in one file by the scripts that measure them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

BENCH = Path("build/bench")
SUMMARY = BENCH / "summary.json"

# Name → whether the figure is to be at most or at least this.
PROMISED = {
    "wire_bytes_per_byte_read": ("≤", 0.01),
    "time_ratio_200mbit_mean": ("≤", 0.2),
    "time_ratio_worst": ("≤", 1.05),
    "balance": ("≤", 1.05),
    "local_share": ("≥", 0.99),
    "scheduler_cpu_ratio_100k": ("≤", 1.05),
    "peak_memory_ratio": ("≤", 1.1),
    "netcdf_rate_ratio": ("≥", 0.9),
    "placement_keys_per_second": ("≥", 5e6),
    # Parts of the analyses: bytes within 5 %, time within a factor of 2, memory within one of 1.3.
    "forecast_bytes_good": ("≥", 1.0),
    "forecast_time_good": ("≥", 0.9),
    "forecast_memory_good": ("≥", 1.0),
}


def kept(name: str, value: float) -> bool:
    """Say whether a promised figure is as promised."""
    sign, bound = PROMISED[name]
    return value <= bound if sign == "≤" else value >= bound


def add(figures: Mapping[str, float]) -> None:
    """Put figures into ``summary.json``, and show all that it holds against what was promised."""
    known: dict[str, float] = json.loads(SUMMARY.read_text()) if SUMMARY.exists() else {}
    known |= figures
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    table = Table(title=str(SUMMARY))
    for name in ("figure", "measured", "promised", ""):
        table.add_column(name, justify="right" if name == "measured" else "left")
    for name, value in sorted(known.items()):
        bound, verdict = "", ""
        if name in PROMISED:
            bound = "{} {:,g}".format(*PROMISED[name])
            verdict = "kept" if kept(name, value) else "MISSED"
        table.add_row(name, f"{value:,.4g}", bound, verdict)
    Console().print(table)
