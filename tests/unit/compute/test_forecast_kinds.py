"""Kinds of tasks: one stands for all, so all of a kind have to be alike, and there are few of them."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.sizeof import sizeof

from appliance.compute.forecasting.graph import Graph, graph_of
from appliance.compute.forecasting.kinds import Kinds, kinds_of
from appliance.compute.forecasting.trial import Step, run_steps

WORK: dict[str, Callable[[xr.DataArray], Any]] = {
    "mean": lambda t: t.mean(),
    "climatology": lambda t: t.groupby("time.month").mean(),
    "anomalies": lambda t: (t.groupby("time.month") - t.groupby("time.month").mean()).std("time"),
    "rechunk": lambda t: t.chunk(time=-1, y=5).std("time"),
    "rolling": lambda t: t.rolling(time=5).mean().mean(),
    "quantile": lambda t: t.chunk(time=-1, y=5).quantile(0.5, "time"),
    "cumsum": lambda t: t.cumsum("time").max(),
    "matrix": lambda t: xr.dot(t, xr.DataArray(np.ones((3, 8), "f4"), dims=("z", "x"))).mean(),
    "components": lambda t: da.linalg.svd_compressed(t.data.reshape(len(t), -1).rechunk({0: -1, 1: 30}), 5, seed=1)[1],
    "histogram": lambda t: da.histogram(t.data, bins=10, range=(0, 1))[0],
    "every third": lambda t: t[::3].mean("time"),
}


def field(chunks: int = 12, length: int = 10) -> xr.DataArray:
    """A field whose last chunk is shorter than the others."""
    steps = chunks * length - 3
    values = np.random.default_rng(1).random((steps, 12, 8), dtype="f4")
    array = da.from_array(values, chunks=(length, 12, 8), name=f"field-{chunks}-{length}")
    return xr.DataArray(array, dims=("time", "y", "x"), coords={"time": xr.date_range("2001-01-01", periods=steps)})


def steps_of(kinds: Kinds) -> list[Step]:
    return [Step(kind.number, [kind.node], kind.needs, kind.given) for kind in kinds.kinds]


def graph(work: str, method: str = "tasks", **shape: int) -> tuple[Graph, Kinds]:
    with dask.config.set({"array.rechunk.method": method}):
        made = graph_of(WORK[work](field(**shape)))
    return made, kinds_of(made, {})


@pytest.mark.parametrize("work", WORK)
def test_the_values_of_all_tasks_of_a_kind_are_equally_large(work: str) -> None:
    made, kinds = graph(work)
    values: dict[Any, Any] = {}
    sizes: defaultdict[int, set[int]] = defaultdict(set)
    for key in made.sorted():
        node = made.nodes[key]
        values[key] = node({needed: values[needed] for needed in node.dependencies})
        sizes[kinds.of[key]].add(sizeof(values[key]))
    assert {kinds.kinds[kind].name: found for kind, found in sizes.items() if len(found) > 1} == {}
    assert sum(kind.tasks for kind in kinds.kinds) == len(made.nodes)


@pytest.mark.parametrize(
    ("work", "shape"),
    # In the last one a month has chunks of its own: an index into the first of them fits no other.
    [*((work, {}) for work in WORK), ("anomalies", {"chunks": 24, "length": 4})],
)
def test_a_trial_of_one_of_each_kind_says_how_large_each_value_is(work: str, shape: dict[str, int]) -> None:
    made, kinds = graph(work, **shape)
    steps = steps_of(kinds)
    tried, failed = run_steps(steps, 600.0, 0)
    assert failed == {}
    values: dict[Any, Any] = {}
    for key in made.sorted():
        node = made.nodes[key]
        values[key] = node({needed: values[needed] for needed in node.dependencies})
        assert tried[kinds.of[key]].nbytes == sizeof(values[key]), key


@pytest.mark.parametrize("work", ["mean", "rechunk", "histogram", "matrix"])
def test_a_longer_array_has_more_tasks_and_hardly_more_kinds(work: str) -> None:
    few, kinds_of_few = graph(work)
    many, kinds_of_many = graph(work, chunks=96)
    assert len(many.nodes) > 5 * len(few.nodes)
    assert len(kinds_of_many.kinds) <= len(kinds_of_few.kinds) + 12  # levels of the tree that joins partial results


def test_a_trial_stops_when_its_time_or_its_memory_is_used_up() -> None:
    made, kinds = graph("mean")
    steps = steps_of(kinds)
    tried, failed = run_steps(steps, -1.0, 0)
    assert tried == {}
    assert all("used up" in why or "not tried" in why for why in failed.values())
    tried, failed = run_steps(steps, 600.0, 1)
    assert tried
    assert any("used up" in why for why in failed.values())
    assert made.results


def test_a_function_that_fails_with_other_values_costs_its_own_figures_only() -> None:
    def picky(_block: np.ndarray) -> np.ndarray:
        raise ValueError("wants the real values")

    odd = field().data.map_blocks(picky, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    made = graph_of([field().mean(), odd])
    kinds = kinds_of(made, {})
    tried, failed = run_steps(steps_of(kinds), 600.0, 0)
    assert tried
    assert any(why == "ValueError: wants the real values" for why in failed.values())


def of_mine(block: np.ndarray) -> np.ndarray:
    """As a researcher's own function: nobody knows what it does."""
    return block + 1


def refusals(data: Any) -> set[str]:
    kinds = kinds_of(graph_of(data), {})
    return {kind.refused for kind in kinds.kinds}


def test_tasks_that_store_are_not_tried(tmp_path: Path) -> None:
    for lazy in (
        field().to_dataset(name="t").to_zarr(tmp_path / "made.zarr", compute=False),
        da.store(field().data, np.empty(field().shape, "f4"), compute=False),
    ):
        refused = refusals(lazy)
        assert "it calls dask.array.core.load_store_chunk, which may write" in refused
        assert "what it needs was not tried" in refused


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.data.map_blocks(of_mine),
        lambda t: t.data.map_overlap(functools.partial(of_mine), depth={0: 1}),
        lambda t: xr.apply_ufunc(of_mine, t, dask="parallelized", output_dtypes=["f4"]),
        lambda t: xr.apply_ufunc(of_mine, t, dask="parallelized", vectorize=True, output_dtypes=["f4"]),
        lambda t: t.data.map_blocks(lambda block: block + 1),
        lambda t: dask.delayed(of_mine)(t.data),
        lambda t: da.apply_along_axis(of_mine, 0, t.data.rechunk({0: -1}), dtype="f4", shape=(1,)),
    ],
)
def test_functions_of_a_researchers_own_are_not_tried(call: Callable[[xr.DataArray], Any]) -> None:
    found = refusals(call(field()))
    assert any(f"it calls {__name__}." in why and "may do more" in why for why in found), found


@pytest.mark.parametrize("work", WORK)
def test_what_only_calculates_is_tried(work: str) -> None:
    _, kinds = graph(work)
    assert {kind.refused for kind in kinds.kinds} == {""}


def test_numpys_own_functions_that_write_are_not_tried() -> None:
    lazy = field().data.map_blocks(np.save, "never.npy", dtype="f4", meta=np.ones(0))
    assert any("save, which may write" in why for why in refusals(lazy))


@pytest.mark.parametrize("work", ["rechunk", "quantile"])
def test_what_comes_behind_an_exchange_between_all_workers_is_tried(work: str) -> None:
    """The values of a trial are as large as those of the same work that is rechunked by tasks."""
    made, kinds = graph(work, "p2p")
    assert {kind.part for kind in kinds.kinds} == {"", "lays", "meets", "takes"}
    assert {kind.refused for kind in kinds.kinds} == {""}
    tried, failed = run_steps(steps_of(kinds), 600.0, 0)
    assert failed == {}
    plain, plain_kinds = graph(work)
    steps = steps_of(plain_kinds)
    by_tasks, _ = run_steps(steps, 600.0, 0)
    (result,), (plain_result,) = made.results, plain.results
    assert tried[kinds.of[result]].nbytes == by_tasks[plain_kinds.of[plain_result]].nbytes
