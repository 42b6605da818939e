"""The queue of root-ish tasks in a real scheduler: what it changes, and what happens where a part is missing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from distributed import scheduler as stock
from stand_in import READS, SIX, StandIn, facility, local_share

from appliance.compute.scheduling.rootish import missing_parts


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
