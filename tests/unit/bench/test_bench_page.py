"""What the benchmark's page says of cells: winning and losing as plainly, and what is missing."""

from __future__ import annotations

from pathlib import Path

import page
import plots
import worker_rate
from cells import Cell, Runs
from places import Place
from summary import PROMISED
from worker_rate import Measured


def cells(**ours: list[float]) -> list[Cell]:
    """Ours takes what is told for each workload, the others 2 s; over unlimited cards, Zarr in 8 MiB."""
    made = []
    for workload, seconds in ours.items():
        for arm, taken in (("ours", seconds), ("stock", [2.0] * 3), ("cloud", [2.0] * 3)):
            runs = Runs(taken, [0.004 if arm == "ours" else 0.3] * 3, [1.0] * 3, [1.01] * 3, [2**28] * 3)
            made.append(runs.cell(arm, Place(workload, "none", 8), 512))
    return made


def test_a_place_where_we_lose_is_named_before_those_where_we_win() -> None:
    said = page.verdicts(cells(mean=[1.0] * 3, rolling=[3.0, 3.0, 1.9], rechunk=[2.05] * 3), "stock")
    assert (
        "Of 3 places ours is faster at 1, slower at 1, and even (±5%) at 1; the median of all ratios is 1.02." in said
    )
    slower, faster = said.split("**Faster")
    assert "| rolling, no limit, 8 MiB, zarr | 3.00 | 2.00 | 1.50 | 2 of 3 | 1.000 | 0.0040 | 0.3000 |" in slower
    assert "| mean, no limit, 8 MiB, zarr | 1.00 | 2.00 | 0.50 | 0 of 3 |" in faster
    assert "rechunk" not in said


def test_an_arm_that_was_not_measured_is_said_to_be() -> None:
    alone = [cell for cell in cells(mean=[1.0] * 3) if cell["arm"] != "cloud"]
    assert page.verdicts(alone, "cloud") == "Nothing was measured against cloud.\n"
    assert "| mean | no limit | 8 | zarr | 1.00 / 2.00 / – | 0.004 / 0.300 / – |" in page.everything(alone)


def test_each_promise_is_kept_missed_or_not_measured() -> None:
    said = page.promised({"balance": 1.2, "netcdf_rate_ratio": 0.95}, [])
    lines = {line.split("`")[1]: line for line in said.splitlines() if line.startswith("| `")}
    assert set(lines) == set(PROMISED)
    assert lines["balance"] == "| `balance` | 1.2 | ≤ 1.05 | **missed** |"
    assert lines["netcdf_rate_ratio"] == "| `netcdf_rate_ratio` | 0.95 | ≥ 0.9 | kept |"
    assert lines["local_share"] == "| `local_share` | – | ≥ 0.99 | not measured |"


def test_what_the_mean_over_slow_cards_waits_for_is_said() -> None:
    made = cells(mean=[1.0] * 3)
    slow = [{**cell, "nic": "200mbit", "seconds_median": 2 * cell["seconds_median"]} for cell in made]
    said = page.promised({}, [*made, *slow])
    assert "ours takes 2.00 s over cards of 200 Mbit/s and 1.00 s over cards without limit" in said
    assert "would need 640 MiB/s of all three workers; without any limit they reach 512 MiB/s" in said
    assert "Behind" not in page.promised({}, made)


def test_what_is_missing_of_the_table_is_said_by_workload() -> None:
    said = page.unmeasured(cells(mean=[1.0] * 3))
    assert "- mean: 17 of 18 places" in said
    assert "- slow: all" in said


def test_the_account_of_a_workers_rate_adds_up() -> None:
    measured = {layer: Measured([800 / (1 + number)] * 3) for number, layer in enumerate(worker_rate.LAYERS)}
    for layer in ("balancer", "obstore", "tasks"):
        measured[layer].kernel_ms, measured[layer].faults = [1.0, 5.0, 2.0], [10, 4000, 4001]
    rows = worker_rate.account(measured)
    # 8 MiB at 800 MiB/s take 10 ms, and each further layer here 10 more.
    assert [row["ms_per_chunk"] for row in rows] == [10, 20, 30, 40, 50, 60, 70, 80]
    assert [row["more_ms"] for row in rows] == [None, None, *[10] * 6]
    assert rows[-1]["of_rados_bench"] == 0.25
    assert (rows[-1]["kernel_ms"], rows[-1]["faults"]) == (2.0, 4000)
    said = page.worker({"chunk_mib": 8, "runs": 3, "layers": rows})
    assert "Tasks reach 0.25 of `rados bench`" in said
    assert "| Dask: tasks, one at a time, and their results | 100 | 80.0 | +10.0 | 2.0 | 4,000 | 0.25 |" in said
    assert "| rados bench seq, one request under way | 400 | 20.0 |  |  |  | 1.00 |" in said


def test_the_whole_page_is_written_from_what_little_there_is(tmp_path: Path) -> None:
    made = cells(mean=[1.0] * 3)
    said = page.page(made, {}, None)
    assert "datasets of 512 MiB, 3 runs of each cell" in said
    for name, draw in (("seconds", plots.seconds), ("ratios", plots.ratios)):
        draw(made, tmp_path / f"benchmark-{name}.png")
        assert f"](benchmark-{name}.png)" in said
        assert (tmp_path / f"benchmark-{name}.png").read_bytes().startswith(b"\x89PNG")
