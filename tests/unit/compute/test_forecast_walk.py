"""The walk through a graph on imagined workers: who does what when, and what is held meanwhile."""

from __future__ import annotations

import pytest

from appliance.compute.forecasting.walk import Work, walk

MIB = 2**20
ONE = {"w1": ("h1", 1)}
TWO = {"w1": ("h1", 1), "w2": ("h2", 1)}


def test_tasks_share_the_slots_and_wait_for_their_inputs() -> None:
    reads = [Work(2.0, 0) for _ in range(6)]
    done = walk([*reads, Work(1.0, 0)], [[], [], [], [], [], [], [0, 1, 2, 3, 4, 5]], [6], TWO)
    assert done.seconds == 3 * 2.0 + 1.0
    assert done.busy == 13.0
    assert walk([*reads, Work(1.0, 0)], [[], [], [], [], [], [], [0, 1, 2, 3, 4, 5]], [6], ONE).seconds == 13.0
    assert walk(reads, [[]] * 6, [], {"w1": ("h1", 3)}).seconds == 4.0


def test_a_value_is_held_until_all_that_need_it_are_done() -> None:
    # A chain: each value goes once the next one is there. Without the release it would be 50 MiB.
    chain = [Work(1.0, 10 * MIB) for _ in range(5)]
    assert walk(chain, [[], [0], [1], [2], [3]], [4], ONE).peaks == {"w1": 20 * MIB}
    # The first one is needed again by the last.
    assert walk(chain, [[], [0], [1], [2], [0, 3]], [4], ONE).peaks == {"w1": 30 * MIB}
    # What nobody needs and is no result goes at once; results stay.
    assert walk(chain, [[]] * 5, [], ONE).peaks == {"w1": 10 * MIB}
    assert walk(chain, [[]] * 5, range(5), ONE).peaks == {"w1": 50 * MIB}


def test_what_a_task_holds_while_it_works_counts_while_it_works() -> None:
    tasks = [Work(1.0, MIB, working=100 * MIB), Work(1.0, MIB, working=2 * MIB)]
    done = walk(tasks, [[], [0]], [1], ONE)
    assert done.peaks == {"w1": 100 * MIB}
    assert walk(tasks[::-1], [[], [0]], [1], ONE).peaks == {"w1": 101 * MIB}


def test_the_order_says_which_of_two_ready_tasks_goes_first() -> None:
    # Read, reduce, read, reduce: two values are never held; in the other order all four are.
    pairs = [Work(1.0, 10 * MIB), Work(1.0, 0)] * 4
    assert walk(pairs, [[], [0], [], [2], [], [4], [], [6]], [], ONE).held == 10 * MIB
    reads_first = [Work(1.0, 10 * MIB)] * 4 + [Work(1.0, 0)]
    assert walk(reads_first, [[], [], [], [], [0, 1, 2, 3]], [], ONE).held == 40 * MIB


def test_tasks_that_read_go_to_the_hosts_of_their_data() -> None:
    tasks = [Work(1.0, 0, read_bytes=MIB, hosts=("h1",)) for _ in range(2)]
    tasks += [Work(1.0, 0, read_bytes=MIB, hosts=("h2",)) for _ in range(2)]
    done = walk(tasks, [[]] * 4, [], TWO, move_rate=MIB)
    assert done.seconds == 2.0  # none over the network
    # No host of the data has a worker.
    assert walk(tasks, [[]] * 4, [], {"w1": ("h3", 1)}, move_rate=MIB).seconds == 8.0
    # A host with nothing left to read helps, and pays for the way.
    alone = [Work(4.0, 0, read_bytes=MIB, hosts=("h1",)) for _ in range(4)]
    assert walk(alone, [[]] * 4, [], TWO, move_rate=MIB).seconds == 10.0


def test_inputs_travel_once_and_are_held_at_both_ends() -> None:
    tasks = [
        Work(1.0, 10 * MIB, hosts=("h1",)),
        Work(1.0, 30 * MIB, hosts=("h2",)),
        Work(1.0, 0),
        Work(1.0, 0),
    ]
    done = walk(tasks, [[], [], [0, 1], [0, 1]], [2, 3], TWO, move_rate=10 * MIB)
    assert done.moved == 10 * MIB  # to the worker that holds more
    assert done.peaks == {"w1": 10 * MIB, "w2": 40 * MIB}
    assert done.seconds == 1.0 + (1.0 + 1.0) + 1.0


def test_the_scheduler_takes_its_time_for_each_task_and_the_result_for_its_way() -> None:
    tasks = [Work(0.0, 0) for _ in range(100)]
    assert walk(tasks, [[]] * 100, [], TWO, task_seconds=0.01).seconds == pytest.approx(1.0)
    assert walk([Work(1.0, 20 * MIB)], [[]], [0], ONE, move_rate=10 * MIB).seconds == 3.0
    # Tasks that wait at their worker begin at once, one that has to hear of its input does not.
    chain = [Work(1.0, 1), Work(1.0, 1), Work(1.0, 1)]
    assert walk(chain, [[], [0], [1]], [2], ONE, hop_seconds=0.5).seconds == 4.0
    assert walk(chain, [[], [], []], [2], ONE, hop_seconds=0.5).seconds == 3.0


def test_what_is_rechunked_lies_on_all_workers_until_it_is_taken() -> None:
    tasks = [Work(1.0, 0, spread=40.0 * MIB), Work(0.0, 0), Work(1.0, 0, spread=-40.0 * MIB)]
    done = walk(tasks, [[], [0], [1]], [2], TWO)
    assert done.held == 40 * MIB
    assert done.peaks == {"w1": 20 * MIB, "w2": 20 * MIB}
