"""Tries to log in are counted, refused, and forgotten."""

from __future__ import annotations

import pytest

from appliance.hub.log_in_tries import LogInTries, TriesAllowed

WINDOW = 300  # s


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()
    monkeypatch.setattr("time.time", told)
    return told


@pytest.fixture
def tries(clock: Clock) -> LogInTries:
    del clock
    return LogInTries(TriesAllowed(seconds=WINDOW, per_name_and_address=3, per_name=5, per_address=8))


def begun(tries: LogInTries, name: str, address: str, times: int) -> list[int]:
    return [tried(tries, name, address) for _ in range(times)]


def tried(tries: LogInTries, name: str, address: str, *, wrong: bool = True) -> int:
    """Begin a try, and end it unless it is refused."""
    wait = tries.begin(name, address)
    if not wait:
        tries.end(name, address, wrong=wrong)
    return wait


def test_one_name_from_one_address_waits_after_its_tries_and_no_other_does(tries: LogInTries) -> None:
    assert begun(tries, "bob", "10.0.0.1", 4) == [0, 0, 0, WINDOW]
    assert begun(tries, "alice", "10.0.0.1", 3) == [0, 0, 0]
    assert begun(tries, "bob", "10.0.0.2", 2) == [0, 0]


def test_one_name_waits_after_tries_from_many_addresses(tries: LogInTries) -> None:
    said = [tried(tries, "bob", f"10.0.0.{number}") for number in range(6)]
    assert said == [0, 0, 0, 0, 0, WINDOW]
    assert tried(tries, "alice", "10.0.0.5") == 0


def test_one_address_waits_after_tries_of_many_names(tries: LogInTries) -> None:
    said = [tried(tries, f"user{number}", "10.0.0.1") for number in range(9)]
    assert said == [0] * 8 + [WINDOW]
    assert tried(tries, "user8", "10.0.0.2") == 0


def test_the_window_moves_and_a_refusal_does_not_prolong_it(tries: LogInTries, clock: Clock) -> None:
    for _ in range(3):
        assert tried(tries, "bob", "10.0.0.1") == 0
        clock.now += 10
    assert begun(tries, "bob", "10.0.0.1", 3) == [WINDOW - 30] * 3
    clock.now += WINDOW - 29
    assert begun(tries, "bob", "10.0.0.1", 2) == [0, 10 - 1]


def test_who_logs_in_has_all_tries_again_and_the_address_has_not(tries: LogInTries) -> None:
    for _ in range(4):
        assert begun(tries, "bob", "10.0.0.1", 2) == [0, 0]
        tries.succeeded("bob", "10.0.0.1")
    assert tried(tries, "bob", "10.0.0.1") == WINDOW


def test_names_with_odd_characters_are_counted_apart(tries: LogInTries) -> None:
    assert begun(tries, "a/10.0.0.1", "10.0.0.1", 4) == [0, 0, 0, WINDOW]
    assert begun(tries, "a", "10.0.0.1", 3) == [0, 0, 0]


def test_long_names_are_not_kept_whole(tries: LogInTries) -> None:
    said = [tried(tries, "x" * 64 + str(number), "10.0.0.1") for number in range(4)]
    assert said == [0, 0, 0, WINDOW]


def test_tries_that_have_not_ended_count(tries: LogInTries) -> None:
    assert [tries.begin("bob", "10.0.0.1") for _ in range(4)] == [0, 0, 0, 1]
    tries.end("bob", "10.0.0.1", wrong=True)
    assert tries.begin("bob", "10.0.0.1") == 1
    tries.end("bob", "10.0.0.1", wrong=False)
    assert [tries.begin("bob", "10.0.0.1") for _ in range(2)] == [0, 1]


def test_a_try_that_nobody_judged_counts_for_the_address_only(tries: LogInTries) -> None:
    said = [tried(tries, "bob", "10.0.0.1", wrong=False) for _ in range(9)]
    assert said == [0] * 8 + [WINDOW]
    assert tried(tries, "bob", "10.0.0.2") == 0


def test_tries_that_nobody_judged_forgive_no_wrong_password(tries: LogInTries) -> None:
    assert begun(tries, "bob", "10.0.0.1", 2) == [0, 0]
    assert [tried(tries, "bob", "10.0.0.1", wrong=False) for _ in range(2)] == [0, 0]
    assert begun(tries, "bob", "10.0.0.1", 2) == [0, WINDOW]
