"""From runs to cells, to the promised figures, and what a table that goes on measures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import cells as table
import places
import pytest
from cells import Cell, Runs
from places import Place


def cell(arm: str, place: Place, seconds: list[float], **others: Any) -> Cell:
    runs = Runs(seconds, [0.005] * len(seconds), [1.0] * len(seconds), [1.02] * len(seconds), [2**28] * len(seconds))
    return {**runs.cell(arm, place, 512), **others}


def test_a_cell_has_the_names_that_were_promised_and_medians() -> None:
    runs = Runs([3.0, 1.0, 2.0], [0.1, 0.3, 0.2], [1.0, 0.5, 0.9], [1.0, 1.2, 1.1], [10, 30, 20])
    made = runs.cell("ours", Place("mean", "1gbit", 32, "netcdf"), 512)
    assert {key: value for key, value in made.items() if key not in ("total_mib", "runs", "seconds")} == {
        "arm": "ours", "nic": "1gbit", "chunk_mib": 32, "format": "netcdf", "workload": "mean", "seconds_median": 2.0,
        "wire_bytes_per_byte_read": 0.2, "local_share": 0.9, "balance": 1.1, "peak_worker_bytes": 20,
    }  # fmt: skip


def test_the_table_has_every_place_once_and_begins_with_those_of_the_promises() -> None:
    found = list(itertools.chain(*places.full()))
    assert len(found) == len(set(found)) == 8 * 3 * 3 * 2
    assert places.full()[: len(places.quick())] == places.quick()
    # Stopped after a tenth, it has seen each workload.
    assert {place.workload for place in found[:17]} == set(places.WORKLOADS)


def test_a_difference_reads_two_datasets_of_its_own_format_and_chunks() -> None:
    one, other = places.data_of(Place("difference", "none", 32, "netcdf"), 256)
    assert (one.url, other.url) == ("s3://alice/bench/256mib-32-first.json", "s3://alice/bench/256mib-32-second.json")
    assert places.SEEDS[one.name] != places.SEEDS[other.name]
    [alone] = places.data_of(Place("hot", "none", 1), 256)
    assert alone.url == "s3://alice/bench/64mib-1-first.zarr"


def test_what_is_missing_is_measured_as_the_group_that_takes_turns() -> None:
    pair, single = places.FORMATS_SIDE_BY_SIDE, (Place("hot", "none", 8),)
    there = [cell(arm, place, [1.0]) for arm in ("ours", "stock") for place in (*pair, *single)]
    assert table.missing([pair, single], there, ["ours", "stock"]) == []
    assert table.missing([pair, single], there, ["ours", "stock", "cloud"]) == [pair, single]
    without = [each for each in there if each["format"] != "netcdf"]
    assert table.missing([pair, single], without, ["ours"]) == [pair]


def test_only_cells_of_as_many_runs_of_as_much_data_stand() -> None:
    place = Place("mean", "none", 8)
    kept = cell("ours", place, [1.0, 1.0])
    others = [cell("ours", place, [1.0]), cell("ours", place, [1.0, 1.0], total_mib=256)]
    others.append(cell("cloud", place, [1.0, 1.0]))
    assert table.standing([kept, *others], 512, 2, ["ours", "stock"]) == [kept]


def test_a_cell_measured_anew_takes_its_namesakes_place() -> None:
    old, other = cell("ours", Place("mean", "none", 8), [1.0]), cell("stock", Place("mean", "none", 8), [1.0])
    new = cell("ours", Place("mean", "none", 8), [2.0])
    assert table.replaced([old, other], [new]) == [other, new]


def test_cells_come_back_from_their_file_without_those_of_an_older_program(tmp_path: Path) -> None:
    path = tmp_path / "bench" / "cells.json"
    assert table.read(path) == []
    made = [cell("ours", Place("mean", "none", 8), [1.0])]
    table.write(path, made)
    assert table.read(path) == made
    path.write_text(json.dumps([{"arm": "ours", "workload": "mean", "seconds_median": 1.0}, *made]))
    assert table.read(path) == made
    path.write_text(json.dumps({"cells": made}))
    with pytest.raises(ValueError, match="without --continue"):
        table.read(path)


def test_results_may_differ_by_the_order_of_a_sum_and_not_by_more() -> None:
    assert table.disagreement([Runs(results=[280.0, 280.0001]), Runs(results=[279.9999])]) is None
    fault = table.disagreement([Runs(results=[280.0]), Runs(results=[281.0])])
    assert fault == "results from 280.0 to 281.0"


def test_a_ratio_is_that_of_neighbours_in_time() -> None:
    # The machine was busy in the second half, for both.
    ours = cell("ours", Place("mean", "none", 8), [1.0, 1.0, 4.0, 4.0, 4.0])
    stock = cell("stock", Place("mean", "none", 8), [2.0, 2.0, 8.0, 8.0, 8.0])
    assert table.ratio(ours, stock) == 0.5


def figures_of(*changed: Cell) -> dict[str, float]:
    places_of_all = list(itertools.chain(*places.quick()))
    stock = [cell("stock", place, [2.0], wire_bytes_per_byte_read=0.3) for place in places_of_all]
    return table.figures(table.replaced([*stock, *(cell("ours", place, [1.0]) for place in places_of_all)], changed))


def test_the_quick_places_give_every_figure_of_theirs() -> None:
    assert figures_of() == {
        "wire_bytes_per_byte_read": 0.005, "wire_bytes_per_byte_read_stock": 0.3, "balance_on_rack": 1.02,
        "local_share": 1.0, "time_ratio_200mbit_mean": 0.5, "time_ratio_worst": 0.5, "netcdf_rate_ratio": 1.0,
    }  # fmt: skip


def test_a_figure_is_the_worst_of_its_cells() -> None:
    worse = {"wire_bytes_per_byte_read": 0.2, "balance": 1.3, "local_share": 0.8}
    found = figures_of(cell("ours", Place("series", "none", 8), [1.0], **worse))
    names = {"wire_bytes_per_byte_read": 0.2, "balance_on_rack": 1.3, "local_share": 0.8}
    assert {key: found[key] for key in names} == names
    elsewhere = [cell(arm, Place("rechunk", "1gbit", 1, "netcdf"), [s]) for arm, s in (("ours", 3.0), ("stock", 2.0))]
    assert figures_of(*elsewhere)["time_ratio_worst"] == 1.5
    assert figures_of(cell("ours", Place("mean", "200mbit", 8), [1.0]))["time_ratio_worst"] == 0.5


def test_figures_of_the_reductions_are_of_zarr_in_8_mib() -> None:
    found = figures_of(cell("ours", Place("mean", "none", 32), [1.0], balance=1.3))
    assert found["balance_on_rack"] == 1.02
    found = figures_of(cell("ours", Place("mean", "none", 8, "netcdf"), [1.25], balance=1.3))
    assert (found["balance_on_rack"], found["netcdf_rate_ratio"]) == (1.02, 0.8)


def test_cells_of_one_arm_give_no_comparison() -> None:
    found = table.figures([cell("ours", Place("mean", "200mbit", 8), [1.0])])
    assert set(found) == {"wire_bytes_per_byte_read", "balance_on_rack", "local_share"}
    assert table.figures([]) == {}
