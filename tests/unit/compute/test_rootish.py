"""The contract with distributed's scheduler: what is read there has not changed, and what to do when a part is gone."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
from typing import Any

import distributed
import pytest
from distributed import scheduler as stock
from distributed import stealing
from stand_in import READS, SIX, StandIn, facility, local_share

from appliance.compute.rootish import missing_parts

# Parts that ``appliance/compute/rootish.py`` stands in for, or relies on, by a digest of their source. When one of them
# changes: read the new one, mend the module, and only then write the new digest here.
READ_IN = "2026.8.0"
READ = {
    "Scheduler.stimulus_queue_slots_maybe_opened": "2aa9c5a70172",
    "SchedulerState._transition_waiting_processing": "c7f0cf0e0bd3",
    "SchedulerState._transition_waiting_queued": "763381db5c4b",
    "SchedulerState._transition_queued_processing": "582686aa38d4",
    "SchedulerState._transition_queued_released": "424b18917344",
    "SchedulerState._transition_queued_erred": "078a5407511b",
    "SchedulerState._transition": "b4f2e3463c03",
    "SchedulerState._add_to_processing": "122c70fee451",
    "SchedulerState.decide_worker_rootish_queuing_enabled": "7280849e5a73",
    "SchedulerState.is_rootish": "8ea0f7489699",
    "SchedulerState.check_idle_saturated": "95e04f2ca593",
    "SchedulerState.valid_workers": "0e4c054c820b",
    "Scheduler.handle_task_finished": "f2459ffb4e7e",
    "Scheduler.handle_worker_status_change": "206e18419a5c",
    "WorkStealing._get_thief": "aeb1c5c596c6",
}


def source(name: str) -> str:
    owner, _, part = name.partition(".")
    holder = getattr(stealing if owner == "WorkStealing" else stock, owner)
    return inspect.getsource(inspect.unwrap(getattr(holder, part)))


@pytest.mark.parametrize("name", READ)
def test_what_was_read_in_distributed_has_not_changed(name: str) -> None:
    digest = hashlib.sha256(source(name).encode()).hexdigest()[:12]
    assert digest == READ[name], (
        f"{name} of distributed {distributed.__version__} is not that of {READ_IN}: "
        "read it, mend appliance/compute/rootish.py, then write the new digest"
    )


def test_nothing_is_missing_and_only_this_scheduler_is_changed() -> None:
    async def test() -> None:
        async with facility(SIX[0]) as made:
            assert missing_parts(made.scheduler) == []
            assert made.plugin.queue is not None
            untouched = stock.Scheduler._TRANSITIONS_TABLE
            assert made.scheduler._TRANSITIONS_TABLE is not untouched
            made.plugin.queue.uninstall()
            assert made.scheduler._TRANSITIONS_TABLE is untouched
            restored = made.scheduler.stimulus_queue_slots_maybe_opened
            assert restored.__func__ is stock.Scheduler.stimulus_queue_slots_maybe_opened

    asyncio.run(test())


def _other_arguments(patch: pytest.MonkeyPatch) -> None:
    real = stock.SchedulerState._add_to_processing

    def moved(self: Any, ts: Any, ws: Any, *, stimulus_id: str, span: str = "") -> Any:  # noqa: ARG001
        return real(self, ts, ws, stimulus_id)

    patch.setattr(stock.SchedulerState, "_add_to_processing", moved)


def _no_queue(patch: pytest.MonkeyPatch) -> None:
    import dask

    patch.setitem(dask.config.config["distributed"]["scheduler"], "worker-saturation", float("inf"))


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (_other_arguments, "_add_to_processing(stimulus_id, ts, ws)"),
        (_no_queue, "worker-saturation"),
    ],
)
def test_where_a_part_is_missing_tasks_are_restricted_loosely_and_it_is_said_once(
    gone: Any, named: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        gone(monkeypatch)
        async with facility(*SIX[:3]) as made:
            assert made.plugin.queue is None
            hosts = set(SIX[:3])
            for name in ("first", "second"):
                total = await made.client.compute(StandIn(name, 60, seconds=0.01).array().sum())
                assert total == 6_000.0
            # Three of six hosts have workers, so a fifth of the chunks has none; stealing moves some others.
            assert {host for host, _, _ in READS} == hosts
            assert local_share() >= 0.5
            del total

    with caplog.at_level(logging.WARNING):
        asyncio.run(asyncio.wait_for(test(), 60))
    said = [record.getMessage() for record in caplog.records if "cannot be made aware of hosts" in record.getMessage()]
    assert len(said) == 1
    assert named in said[0]


@pytest.mark.parametrize(
    "part",
    [
        *("_TRANSITIONS_TABLE", "_add_to_processing", "stimulus_queue_slots_maybe_opened", "is_rootish", "transitions"),
        *("idle_task_count", "running", "queued", "add_worker", "handle_task_finished"),
    ],
)
def test_every_part_that_is_gone_is_named(part: str) -> None:
    async def test() -> None:
        async with facility() as made:

            class Without:
                def __getattr__(self, name: str) -> Any:
                    if name == part:
                        raise AttributeError(name)
                    return getattr(made.scheduler, name)

            assert all(missing.startswith(part) for missing in missing_parts(Without()))
            assert missing_parts(Without())

    asyncio.run(test())
