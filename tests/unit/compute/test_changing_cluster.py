"""Clusters that change while an analysis runs: workers by demand, disks that are lost, tasks of another length."""

from __future__ import annotations

import pytest
from stand_in import READS, SIX, Map, Maps, StandIn, facility, holders, local_share, run, until

from appliance.compute.scheduling import host_queue


def test_adaptive_scaling_sees_what_is_queued_and_keeps_the_workers_for_it() -> None:
    async def test() -> None:
        async with facility(*SIX[:2]) as made:
            scheduler = made.scheduler
            future = made.client.compute(StandIn("demand", 120, seconds=0.05).array(inline_array=True).sum())
            await until(lambda: len(scheduler.queued) > 60 and len(READS) > 4)
            assert scheduler.adaptive_target(target_duration=0.1) > 2 + len(SIX)
            assert not scheduler.workers_to_close()
            await made.add(*SIX[2:])
            assert await future == 12_000.0
            assert {host for host, _, _ in READS} == set(SIX)
            del future
            await until(lambda: not scheduler.tasks)
            made.settled()
            assert len(scheduler.workers_to_close(n=4)) == 4

    run(test)


class _WithoutHost(Map):
    """The map after a host's disks were lost: what it held has one holder less."""

    def __init__(self, lost: str):
        super().__init__(epoch=2)
        self.lost = lost

    def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
        return [tuple(host for host in holders(key) if host != self.lost) for key in keys]


def test_a_lost_disk_takes_the_reads_away_from_its_host_and_no_other() -> None:
    async def test() -> None:
        answers = [Map()]
        async with facility(*SIX, maps=Maps(lambda: answers[-1]), refresh=0.1) as made:
            future = made.client.compute(StandIn("disk", 360, seconds=0.02).array().sum())
            await until(lambda: len(READS) > 60)
            answers.append(_WithoutHost(SIX[0]))
            await until(lambda: made.plugin.placed_anew)
            queued = [made.plugin.places[ts.key].hosts for ts in made.scheduler.queued]
            assert len(queued) > 100
            assert {host for hosts in queued for host in hosts} == set(SIX[1:])
            before = len(READS) + 2 * len(SIX)  # what was assigned already
            assert await future == 36_000.0
            after = READS[before:]
            elsewhere = [local for host, _, local in after if host != SIX[0]]  # that one may help, for want of its own
            assert sum(elsewhere) >= 0.95 * len(elsewhere)

    run(test)


@pytest.mark.parametrize("seconds", [0.01, 0.2])
def test_the_wait_before_help_is_that_of_the_tasks_that_ran(seconds: float) -> None:
    async def test() -> None:
        async with facility(*SIX) as made:
            assert made.plugin.queue is not None
            assert made.plugin.queue.queue.locality_wait == host_queue.WAIT_UNKNOWN
            await made.client.compute(StandIn("length", 60, seconds=seconds).array().sum())
            wait = made.plugin.queue.queue.locality_wait
            assert wait >= host_queue.WAIT_LENGTHS * seconds  # they sleep for so long at least
            assert wait != host_queue.WAIT_UNKNOWN
            assert local_share() >= 0.95

    run(test)
