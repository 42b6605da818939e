"""The queue alone: who gets which task, and when a host without work of its own helps another."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.compute.scheduling import host_queue
from appliance.compute.scheduling.host_queue import HostQueue

ABC = ("a", "b", "c")


def filled(tasks: int, replicas: int = 2, hosts: tuple[str, ...] = ABC, seed: int = 1) -> HostQueue[Any]:
    made: HostQueue[Any] = HostQueue()
    made.set_hosts(dict.fromkeys(hosts, 1), now=-10.0)
    chooser = random.Random(seed)
    for number in range(tasks):
        made.push(number, (0, number), 8, tuple(chooser.sample(hosts, replicas)))
    return made


def test_a_slot_takes_the_best_priority_of_what_its_host_holds() -> None:
    made = filled(0)
    for key, priority, hosts in (("z", 3, "a"), ("y", 1, "b"), ("x", 2, "ab"), ("w", 0, "c")):
        made.push(key, (priority,), 8, tuple(hosts))
    assert [made.pop("a", 0.0), made.pop("a", 0.0)] == ["x", "z"]
    assert made.pop("b", 0.0) == "y"
    assert "w" in made
    assert len(made) == 1


def test_tasks_without_a_place_go_by_priority_to_whoever_is_free() -> None:
    made = filled(0)
    made.push("placed", (2,), 8, ("a",))
    made.push("anywhere", (1,))
    assert [made.pop("a", 0.0), made.pop("a", 0.0)] == ["anywhere", "placed"]


def worked(
    made: HostQueue[Any], hosts: tuple[str, ...], noise: float, slots: int = 1
) -> Iterator[tuple[float, str, int]]:
    """Slots of about the same pace take task after task: when, the host, and the task."""
    chooser = random.Random(3)
    events = [(chooser.random() * 0.01, host, 1) for host in hosts for _ in range(slots)]  # slots that come free
    heapify(events)
    idle = Counter[str]()
    while made:
        now, host, freed = heappop(events)
        idle[host] += freed
        for asking in [host, *made.ready_hosts]:
            while idle[asking] and (number := made.pop(asking, now)) is not None:
                idle[asking] -= 1
                seconds = 0.05 * (1 + noise * chooser.random())
                made.observe(seconds, local=True)
                heappush(events, (now + seconds, asking, 1))
                yield now, asking, number
        if idle[host] and (due := made.next_due((host,), now)) is not None:
            heappush(events, (due, host, 0))


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_load_is_even_over_the_replicas_and_all_is_local(replicas: int, noise: float) -> None:
    """Nobody is told to balance, and everybody has the same."""
    hosts = tuple("abcdef")
    made = filled(600, replicas, hosts)
    taken = Counter(host for _, host, _ in worked(made, hosts, noise))
    assert taken.total() == 600
    assert made.foreign <= 0.01 * 600
    assert max(taken.values()) * 6 / 600 <= 1.05


@pytest.mark.parametrize("replicas", [2, 3])
def test_tasks_run_about_in_their_order_and_hosts_hardly_wait_for_it(replicas: int) -> None:
    hosts = tuple("abcdef")
    made, worst, best, end = filled(900, replicas, hosts), 0, 0, 0.0
    for taken, (now, _, number) in enumerate(worked(made, hosts, noise=0.5, slots=2)):
        best, end = max(best, number), now
        if taken < 880:
            worst = max(worst, best - taken)
    assert worst <= 14, "as many tasks have overtaken others"
    assert end <= 1.02 * 900 * 0.05 * 1.25 / 12


def test_a_slow_host_leaves_what_others_hold_to_them() -> None:
    made, taken, now = filled(3000), Counter[str](), 0
    while made:
        for host in ABC if now % 4 == 0 else ABC[:2]:
            taken[host] += made.pop(host, now / 1000) is not None
        now += 1
    assert taken["c"] < 0.6 * taken["a"]


def test_a_host_that_is_ahead_waits_until_a_task_of_its_own_enters_the_lookahead() -> None:
    made = filled(0)
    for number in range(7):
        made.push(("bc", number), (number,), 8, ("b", "c"))
    made.push("later", (9,), 8, ("a", "b"))
    assert made.pop("a", 0.0) is None
    assert made.pop("b", 0.05) == ("bc", 0)
    assert made.pop("a", 0.05) is None
    assert made.pop("c", 0.05) == ("bc", 1)
    assert made.ready_hosts == {"a"}  # its own is one of the best six
    assert made.pop("a", 0.05) == "later"
    assert not made.ready_hosts
    assert made.foreign == 0


def test_a_host_that_is_ahead_is_not_idle_for_longer_than_the_locality_wait() -> None:
    """Another host may be stuck with the lookahead: it is waited for once, and not for each task."""
    made = filled(0)
    made.observe(0.2, local=True)
    for number in range(9):
        made.push(("b", number), (number,), 8, ("b",))
        made.push(("a", number), (10 + number,), 8, ("a", "c"))
    assert made.pop("a", 1.0) is None
    assert made.next_due(("a",), 1.0) == 1.4
    assert made.pop("a", 1.41) == ("a", 0)
    made.only_idle(())  # it works on what it took, which is no other work
    assert [made.pop("a", 1.6), made.pop("a", 1.8)] == [("a", 1), ("a", 2)]


def test_what_a_host_alone_holds_does_not_wait_for_the_lookahead() -> None:
    """Its load is what it is: those who lag behind would hold up all others, and nobody would be sooner for it."""
    made = filled(0)
    made.set_hosts({"a": 1, "b": 1}, now=0.0)
    for number in range(9):
        made.push(("b", number), (number,), 8, ("b",))
    made.push("alone", (9,), 8, ("a", "c"))
    made.push("anywhere", (10,))
    assert [made.pop("a", 1.0), made.pop("a", 1.0)] == ["alone", "anywhere"]
    assert made.pop("a", 1.0) is None


def test_a_better_priority_that_comes_later_is_in_the_lookahead_at_once() -> None:
    made = filled(0)
    for number in range(9):
        made.push(("b", number), (number,), 8, ("b",))
    made.push("urgent", (-1,), 8, ("a", "b"))
    assert made.pop("a", 0.0) == "urgent"
    assert made.pop("b", 0.0) == ("b", 0)


def test_an_idle_host_waits_once_and_then_takes_from_the_longest_backlog() -> None:
    made = filled(0)
    for number in range(8):
        made.push(("b", number), (number,), 10, ("b",))
        made.push(("c", number), (number,), 30, ("c",))
    made.observe(0.2, local=True)
    assert made.locality_wait == 0.4
    assert made.pop("a", 5.0) is None
    assert made.next_due(("a",), 5.0) == 5.4
    assert made.pop("a", 5.3) is None
    assert [made.pop("a", 5.41), made.pop("a", 5.41)] == [("c", 0), ("c", 1)]  # the second without a wait
    assert made.foreign == 2
    # Work of its own ends the wait.
    made.push("own", (9,), 1, ("a",))
    assert made.pop("a", 5.5) == "own"
    assert made.pop("a", 5.5) is None


def test_a_wait_ends_when_the_host_is_busy_with_other_work() -> None:
    made = filled(0)
    made.push("theirs", (1,), 8, ("b",))
    assert made.pop("a", 0.0) is None
    made.only_idle(("b",))
    assert made.pop("a", 100.0) is None
    assert made.pop("a", 100.2) == "theirs"


def test_the_wait_follows_the_length_of_the_tasks_between_bounds() -> None:
    made = filled(0)
    assert made.locality_wait == host_queue.WAIT_UNKNOWN
    for seconds, wait in ((0.0001, host_queue.WAIT_MIN), (60.0, host_queue.WAIT_MAX)):
        for _ in range(200):
            made.observe(seconds, local=True)
        assert made.locality_wait == wait


def test_help_that_does_not_pay_comes_late_but_comes() -> None:
    """One task that its host is about to start is left to it, unless that host does not start it."""
    made = filled(0)
    made.observe(0.1, local=True)
    made.observe(0.5, local=False)
    made.push("last", (1,), 8, ("b",))
    assert made.pop("a", 0.0) is None
    assert made.pop("a", 1.0) is None
    assert made.next_due(("a",), 1.0) == host_queue.IDLE_MAX
    assert made.pop("a", host_queue.IDLE_MAX) == "last"


def test_tasks_of_a_host_without_workers_wait_a_moment_for_it() -> None:
    made = HostQueue()
    made.set_hosts({"a": 1}, now=0.0)
    made.push("mine", (0,), 8, ("a",))
    made.push("theirs", (1,), 8, ("b",))
    assert made.pop("a", 0.5) == "mine"
    assert made.pop("a", 0.5) is None
    made.push("mine too", (3,), 8, ("a",))
    assert made.pop("a", host_queue.HOSTS_SETTLE) == "theirs"  # in the order of their priority, once nobody is coming
    # A host that comes in time gets its own.
    made.push("for b", (0,), 8, ("b",))
    made.set_hosts({"a": 1, "b": 1}, now=2.0)
    assert made.pop("a", 9.0) == "mine too"
    assert made.pop("b", 9.0) == "for b"


def test_a_lost_host_strands_nothing() -> None:
    made = filled(300)
    made.set_hosts({"b": 1, "c": 1}, now=0.0)
    now, left = 0.0, Counter[str]()
    while made:
        for host in ("b", "c"):
            left[host] += made.pop(host, now) is not None
        now += 0.01
    assert left.total() == 300
    assert made.foreign <= 3


def test_placing_anew_moves_a_task() -> None:
    made = filled(0)
    made.push("moved", (1,), 8, ("a",))
    made.push("moved", (1,), 8, ("b",))
    assert len(made) == 1
    assert made.pop("a", 0.0) is None
    assert made.pop("b", 0.0) == "moved"
    assert made.pop("b", 0.0) is None


HOLDERS = st.lists(st.sampled_from("abcde"), unique=True, max_size=3).map(tuple)
STEPS = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 40), st.integers(0, 9), HOLDERS),
    st.tuples(st.just("discard"), st.integers(0, 40)),
    st.tuples(st.just("pop"), st.sampled_from("abc")),
    st.tuples(st.just("hosts"), st.sets(st.sampled_from("abcd"), min_size=1)),
    st.tuples(st.just("observe"), st.floats(0.0, 10.0), st.booleans()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=120))
def test_whatever_happens_each_task_comes_out_once_and_soon(steps: list[tuple[object, ...]]) -> None:
    made, expected, now = HostQueue(), {}, 0.0
    made.set_hosts({"a": 1}, now)
    present = {"a"}
    for what, *given_ in steps:
        now += 0.01
        if what == "push":
            key, priority, hosts = given_
            made.push(key, (priority,), 8, hosts)
            expected[key] = (priority, hosts)
        elif what == "discard":
            made.discard(given_[0])
            expected.pop(given_[0], None)
        elif what == "hosts":
            present = given_[0]
            made.set_hosts(dict.fromkeys(present, 2), now)
        elif what == "observe":
            made.observe(*given_)
        elif given_[0] in present:
            host = given_[0]
            theirs = [(priority, hosts) for priority, hosts in expected.values() if not hosts or host in hosts]
            own = [priority for priority, _ in theirs]
            ranks = sorted(priority for priority, _ in expected.values())
            key = made.pop(host, now)
            # Nothing of a worse priority than the best of its own is taken, and that is not passed over if it is in
            # the lookahead (of equal priorities only some are).
            if own and key is not None:
                assert expected[key][0] <= min(own)
            elif own and len(ranks) > len(present) * host_queue.LOOKAHEAD_PER_HOST:
                assert min(own) >= ranks[len(present) * host_queue.LOOKAHEAD_PER_HOST]
                assert any(len(present.intersection(hosts)) > 1 for priority, hosts in theirs if priority == min(own))
            else:
                assert key is not None or not own
            if key is not None:
                del expected[key]
        assert len(made) == len(expected)
    # One host that asks again and again, at the times it is told, gets everything.
    (host, *_) = sorted(present)
    for _ in range(3 * len(expected) + 5):
        key = made.pop(host, now)
        if key is not None:
            del expected[key]
        elif expected:
            due = made.next_due((host,), now)
            assert due is not None
            assert now < due <= now + host_queue.IDLE_MAX
            now = due
    assert not expected
    assert not made
    assert made.next_due((host,), now) is None


def test_help_is_thought_to_take_long_while_none_was_measured() -> None:
    queue = HostQueue()
    queue.set_hosts({"a": 1, "b": 1}, 0.0)
    queue.observe(1.0, local=True)
    for number in range(3):
        queue.push(number, number, 1, ("b",))
    assert queue.pop("a", 10.0) is None
    assert queue.pop("a", 12.0) is None  # b comes to its last task in 3 s
    queue.observe(1.5, local=False)
    assert queue.pop("a", 12.0) == 0  # which turns out to be slower than helping


def test_the_last_moments_of_an_analysis_are_left_to_the_hosts_of_the_data() -> None:
    queue = HostQueue()
    queue.set_hosts({"a": 1, "b": 1}, 0.0)
    for local in (True, False):
        queue.observe(0.01, local)
    for number in range(90):
        queue.push(number, number, 1, ("b",))
    assert queue.pop("a", 10.0) is None
    assert queue.pop("a", 10.5) is None  # b comes to its last task in 0.9 s
    assert queue.pop("a", 13.0) == 0
