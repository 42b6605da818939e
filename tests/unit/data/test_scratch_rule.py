"""When what lies in scratch goes: never in parts, never without a week's notice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.data.scratch_buckets.rule import DAY, MOST, NOTHING, NOTICE_DAYS, Notice, Thing, Written, things

KEYS = ["a", "a-b/1", "a.zarr/t/c/0", "a.zarr/t/c/1", "a.zarr/zarr.json", "a/1", "a/b/2", "ab", ".catalogue/items.json"]


def looks(notice: Notice, thing: Thing, days: int, moments: Sequence[float]) -> tuple[Notice, float | None]:
    """What comes of looks at these days: the last notice, and the day at which the thing went."""
    for at in moments:
        notice = notice.next([thing], days, at * DAY)
        if notice.due(at * DAY):
            return notice, at
    return notice, None


def test_what_lies_directly_in_the_bucket_is_one_thing_of_the_age_of_its_newest_object() -> None:
    ages = {key: float(number) for number, key in enumerate(sorted(KEYS), start=1)} | {"a.zarr/t/c/1": 99.0}
    written = [Written(key, 10, age) for key, age in ages.items()]
    found = {one.name: (one.nbytes, one.objects, one.newest) for one in things(written)}
    assert found == {
        "a": (10, 1, ages["a"]),
        "a-b/": (10, 1, ages["a-b/1"]),
        "a.zarr/": (30, 3, 99.0),
        "a/": (20, 2, ages["a/b/2"]),
        "ab": (10, 1, ages["ab"]),
    }


def test_a_thing_goes_after_its_days_when_it_was_told_a_week_before() -> None:
    thing = Thing("a.zarr/", 1, 1, 0.0)
    notice, went = looks(NOTHING, thing, 30, range(0, 40))
    assert went == 30
    assert notice.things[0].told == 23 * DAY


def test_a_thing_that_is_written_to_is_told_anew() -> None:
    notice, _ = looks(NOTHING, Thing("a", 1, 1, 0.0), 30, range(0, 29))
    assert notice.near(28 * DAY)
    notice, went = looks(notice, Thing("a", 1, 1, 28 * DAY), 30, range(29, 60))
    assert went == 58


def test_days_that_are_few_begin_anew_with_what_is_written() -> None:
    notice, _ = looks(NOTHING, Thing("a", 1, 1, 0.0), 1, range(0, 7))
    assert looks(notice, Thing("a", 1, 1, 6.5 * DAY), 1, range(7, 20))[1] == 14


def test_a_thing_of_which_some_was_deleted_is_told_still() -> None:
    notice, _ = looks(NOTHING, Thing("a/", 2, 2, 5 * DAY), 30, range(5, 35))
    assert looks(notice, Thing("a/", 1, 1, 0.0), 30, [35])[1] == 35


def test_fewer_days_take_nothing_without_a_week() -> None:
    thing = Thing("a", 1, 1, 0.0)
    notice, went = looks(NOTHING, thing, 60, range(0, 50))
    assert went is None
    assert looks(notice, thing, 10, range(50, 70))[1] == 57


@pytest.mark.parametrize("days", [1, 6, 7])
def test_days_that_are_fewer_than_a_week_are_a_week(days: int) -> None:
    assert looks(NOTHING, Thing("a", 1, 1, 0.0), days, range(0, 20))[1] == NOTICE_DAYS


def test_a_job_that_did_not_look_for_days_begins_the_week_anew() -> None:
    thing = Thing("a", 1, 1, 0.0)
    notice, _ = looks(NOTHING, thing, 30, range(0, 25))
    assert looks(notice, thing, 30, range(40, 60))[1] == 47
    assert not notice.is_current(40 * DAY)


def test_a_clock_that_ran_ahead_is_not_believed() -> None:
    thing = Thing("a", 1, 1, 0.0)
    notice, _ = looks(NOTHING, thing, 30, [1000])
    assert looks(notice, thing, 30, range(25, 60))[1] == 32


@given(
    days=st.lists(st.integers(1, 40), min_size=80, max_size=80),
    looked=st.lists(st.booleans(), min_size=80, max_size=80),
    written=st.sets(st.integers(0, 79)),
)
def test_nothing_goes_that_was_not_told_for_a_week_whatever_happens(
    days: list[int], looked: list[bool], written: set[int]
) -> None:
    """Whatever the days are changed to, the job leaves out, and is written: told on seven days before, and since."""
    notice, newest = NOTHING, 0.0
    shown: list[bool] = []  # on each day, whether the owner could read that it goes
    for day in range(80):
        if day in written:
            newest = day * DAY
        if looked[day]:
            notice = notice.next([Thing("a", 1, 1, newest)], days[day], day * DAY)
            if notice.due(day * DAY):
                assert all(shown[-NOTICE_DAYS:])
                assert len(shown) >= NOTICE_DAYS
                assert not written & set(range(day - NOTICE_DAYS + 1, day + 1))
                return
        shown.append(any(one.told is not None and one.newest == newest for one in notice.things))


def test_a_bucket_of_many_things_takes_no_more_memory_than_the_first_of_them() -> None:
    many = (Thing(f"{number:06}", 1, 1, float(number)) for number in reversed(range(3 * MOST)))
    notice = NOTHING.next(many, 30, 0.0)
    assert [one.newest for one in notice.things] == list(range(MOST))


def test_a_notice_is_read_as_it_was_written() -> None:
    notice = NOTHING.next([Thing("ü/", 2**40, 7, 0.5), Thing("b", 0, 1, 50 * DAY)], 30, 51 * DAY)
    assert Notice.read(notice.document()) == notice


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version": 2, "days": 1, "looked": 0, "things": []}',
        b'{"version": 1, "days": 1, "looked": 0}',
    ],
)
def test_what_is_no_notice_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Notice.read(document)
