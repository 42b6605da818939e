"""The plugin on a real scheduler and real workers in this process, which checks its own state all the while."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, wait
from stand_in import GATE, READS, SIX, Maps, StandIn, facility, holders, local_share, run, stopped, until


@pytest.mark.parametrize("inline", [False, True], ids=["by reference", "inline"])
def test_reads_are_local_on_all_hosts(inline: bool) -> None:
    async def test() -> None:
        async with facility(*SIX, clock=stopped) as made:
            total = await made.client.compute(StandIn("even", 300, seconds=0.04).array(inline_array=inline).sum())
            assert total == 30_000.0
            assert len(READS) == 300
            assert local_share() == 1.0
            assert {host for host, _, _ in READS} == set(SIX)  # how evenly is asked of the queue alone
            del total
            await until(lambda: not made.scheduler.tasks)
            made.settled()

    run(test)


def test_a_worker_never_holds_more_than_stock_dask_would_give_it() -> None:
    async def test() -> None:
        async with facility(*SIX, nthreads=2) as made:
            most: Counter[str] = Counter()

            class Watch:
                name = "watch"

                def transition(self, _key: Any, _start: str, finish: str, *_: Any, **__: Any) -> None:
                    if finish == "processing":
                        for ws in made.scheduler.workers.values():
                            most[ws.host] = max(most[ws.host], len(ws.processing))

                def __getattr__(self, _: str) -> Any:
                    return lambda *_, **__: None

            made.scheduler.plugins["watch"] = Watch()
            await made.client.compute(StandIn("saturation", 120, seconds=0.005).array().map_blocks(np.sum, drop_axis=0))
            assert max(most.values()) == math.ceil(1.1 * 2)

    run(test)


def test_two_datasets_in_one_task_weigh_by_their_bytes() -> None:
    async def test() -> None:
        async with facility(*SIX, clock=stopped) as made:
            small = StandIn("small", 60, seconds=0.01, length=100).array()
            large = StandIn("large", 60, seconds=0.02, length=900).array()
            sums = da.map_blocks(lambda a, b: np.array([a.sum() + b.sum()]), small, large, chunks=(1,), dtype="f8")
            assert await made.client.compute(sums.sum()) == 6_000.0 + 54_000.0
            large_ones = [local for _, key, local in READS if key.startswith("large")]
            assert len(large_ones) == 60
            assert sum(large_ones) == 60

    run(test)


def test_several_objects_a_task_go_where_most_of_them_are() -> None:
    async def test() -> None:
        async with facility(*SIX, clock=stopped) as made:
            await made.client.compute(StandIn("four", 240, seconds=0.04).array(per_task=4).sum())
            best = 0
            for task in range(60):
                there = Counter(host for chunk in range(4) for host in holders(f"four/{4 * task + chunk}"))
                best += max(there.values())
            assert sum(local for _, _, local in READS) == best

    run(test)


def test_a_users_own_restriction_and_priority_stand() -> None:
    async def test() -> None:
        async with facility(*SIX, clock=stopped) as made:
            worker = made.workers[SIX[2]].address
            await made.client.compute(StandIn("mine", 24).array().sum(), workers=[worker])
            assert {host for host, _, _ in READS} == {SIX[2]}
            READS.clear()
            GATE.clear()
            slow = made.client.compute(StandIn("slow", 120, seconds=0.02).array().sum())
            await until(lambda: len(READS) == len(SIX))
            waiting = len(made.scheduler.queued)
            # Inline: no task has to end before these can be queued.
            array = StandIn("urgent", 24, seconds=0.02).array(inline_array=True)
            urgent = made.client.compute(array.sum(), priority=10)
            await until(lambda: len(made.scheduler.queued) == waiting + 24)
            GATE.set()
            await urgent
            for host in SIX:
                order = "".join(key[0] for where, key, _ in READS if where == host)
                # What the worker had been given comes first, and nothing comes between.
                assert re.fullmatch("s{0,2}u*s*", order), "the urgent tasks waited for the others"
            await slow
            assert local_share() == 1.0

    run(test)


def test_several_clients_and_what_is_persisted() -> None:
    async def test() -> None:
        async with facility(*SIX, clock=stopped) as made, Client(made.scheduler.address, asynchronous=True) as other:
            kept = made.client.persist(StandIn("kept", 60, seconds=0.005).array())
            theirs = other.compute(StandIn("theirs", 60, seconds=0.005).array().sum())
            assert await made.client.compute(kept.sum()) == await theirs == 6000.0
            assert len(READS) == 120
            assert local_share() == 1.0
            del kept, theirs
            await until(lambda: not made.scheduler.tasks)
            made.settled()

    run(test)


def test_work_that_reads_nothing_is_spread_as_ever() -> None:
    async def test() -> None:
        async with facility(*SIX, clock=stopped) as made:
            reading = made.client.compute(StandIn("beside", 60, seconds=0.01).array().sum())
            squares = made.client.map(lambda number: number * number, range(200))
            assert sum(await made.client.gather(squares)) == sum(number * number for number in range(200))
            assert await reading == 6000.0
            assert local_share() == 1.0

    run(test)


def test_workers_come_and_go() -> None:
    async def test() -> None:
        async with facility() as made:
            future = made.client.compute(StandIn("adaptive", 300, seconds=0.01).array(inline_array=True).sum())
            await until(lambda: len(made.scheduler.queued) == 300)
            await made.add(SIX[0])
            await made.add(*SIX[1:4])
            await until(lambda: len(READS) > 60)
            GATE.clear()
            await made.add(*SIX[4:])
            GATE.set()
            await made.scheduler.retire_workers(workers=[made.workers[SIX[0]].address])
            assert await future == 30_000.0
            there = {host for host, _, _ in READS}
            assert there == set(SIX)
            # Only tasks whose hosts had no worker while others were idle were read elsewhere.
            assert local_share() >= 0.8

    run(test)


def test_a_lost_worker_costs_neither_result_nor_locality() -> None:
    async def test() -> None:
        async with facility(*SIX, clock=stopped) as made:
            future = made.client.compute(StandIn("loss", 240, seconds=0.01).array().sum())
            await until(lambda: len(READS) > 60)
            await made.lose(SIX[1])
            assert await future == 24_000.0
            assert local_share() == 1.0

    run(test)


def test_work_stealing_moves_assigned_tasks_among_their_hosts_and_nowhere_else() -> None:
    async def test() -> None:
        async with facility(*SIX) as made:
            kept = made.client.persist(StandIn("stolen", 36, seconds=0.1).array(inline_array=True))
            await until(lambda: len(READS) > 3)
            workers = {ws.host: ws for ws in made.scheduler.workers.values()}
            assigned = [ts for ts in made.scheduler.tasks.values() if ts.state == "processing"]
            assert len(assigned) >= 6
            stealing = made.scheduler.extensions["stealing"]
            for ts in assigned:
                theirs = set(made.plugin.places[ts.key].hosts)
                others = {ws for host, ws in workers.items() if host not in theirs}
                assert stealing._get_thief(made.scheduler, ts, others, occupancies={}) is None
                assert made.scheduler.valid_workers(ts) == {workers[host] for host in theirs}
            await wait(kept)
            # Free again: should it be lost, it goes through the queue once more.
            assert not any(ts.host_restrictions for ts in made.scheduler.tasks.values())

    run(test)


def test_a_task_whose_hosts_have_no_worker_does_not_wait_for_another_event() -> None:
    async def test() -> None:
        async with facility(SIX[0]) as made:
            number = next(number for number in range(100) if SIX[0] not in holders(f"lonely/{number}"))
            array = StandIn("lonely", 100).array(inline_array=True)
            for _ in range(2):
                assert await made.client.compute(array.blocks[number].sum()) == 100.0

    run(test)


def test_idle_workers_help_when_nobody_else_can_soon() -> None:
    async def test() -> None:
        async with facility(*SIX, nthreads=1) as made:
            maps = [number for number in range(1000) if holders(f"hot/{number}") == holders("hot/0")]
            array = StandIn("hot", 1000, seconds=0.2).array()
            assert len(maps) >= 16
            await made.client.gather([made.client.compute(array.blocks[number].sum()) for number in maps[:24]])
            assert len({host for host, _, _ in READS}) > 2, "four hosts stood idle for seconds"

    run(test)


def test_a_new_map_moves_what_is_still_queued() -> None:
    async def test() -> None:
        from stand_in import Map

        answers = [Map(epoch=1, shift=1)]
        async with facility(*SIX, maps=Maps(lambda: answers[-1]), refresh=0.1) as made:
            future = made.client.compute(StandIn("moved", 300, seconds=0.01).array().sum())
            await until(lambda: len(READS) > 40)
            assert made.plugin.placed_anew == 0  # the same map again is no reason
            answers.append(Map(epoch=2))
            await until(lambda: made.plugin.placed_anew)
            before = len(READS)
            assert await future == 30_000.0
            assert made.plugin.placed_anew == 1
            after = READS[before + 2 * len(SIX) :]  # but for what was assigned already
            assert sum(local for _, _, local in after) >= 0.95 * len(after)
            await until(lambda: made.plugin._watch is None)

    run(test)


class _Stuck:
    """A placement service that accepts and does not answer."""

    def __init__(self) -> None:
        import threading

        self.released = threading.Event()

    def __call__(self) -> Any:
        self.released.wait(20)
        raise ConnectionError("late")


class _Liar:
    epoch = 1

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [("10.99.0.1", "10.99.0.2") for _ in keys]

    def address(self, host: str) -> str:
        return host


class _Homeless(_Liar):
    def address(self, host: str) -> str:
        from appliance.placement import UnknownPlace

        raise UnknownPlace(f"no storage host {host!r}")


class _Garbage(_Liar):
    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [None for _ in keys[1:]]  # type: ignore[misc]


def _gone() -> Any:
    raise ConnectionRefusedError("the map service is gone")


@pytest.mark.parametrize(
    "answer", [_gone, _Stuck(), _Liar, _Homeless, _Garbage, lambda: None], ids=lambda a: getattr(a, "__name__", "stuck")
)
def test_without_a_usable_map_tasks_run_anywhere(answer: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with facility(*SIX, maps=Maps(answer), refresh=0.1) as made:
            for name in ("first", "second"):
                assert await made.client.compute(StandIn(name, 120, seconds=0.002).array().sum()) == 12_000.0
            assert len({host for host, _, _ in READS}) == len(SIX)
            if isinstance(answer, _Stuck):
                answer.released.set()

    run(test)
    said = [record.getMessage() for record in caplog.records if "regard to where" in record.getMessage()]
    assert len(said) <= 1  # however long it lasts: refreshing in vain is another matter, and said in other words


def test_a_map_that_comes_late_is_used_for_what_has_not_run() -> None:
    async def test() -> None:
        from stand_in import Map

        answers: list[Callable[[], Any]] = [_gone]
        async with facility(*SIX, maps=Maps(lambda: answers[-1]()), refresh=0.1) as made:
            future = made.client.compute(StandIn("late", 300, seconds=0.01).array().sum())
            await until(lambda: len(READS) > 40)
            answers.append(Map)
            await until(lambda: made.plugin.placed_anew)
            before = len(READS) + 2 * len(SIX)
            assert await future == 30_000.0
            assert sum(local for _, _, local in READS[before:]) >= 0.95 * len(READS[before:])

    run(test)
