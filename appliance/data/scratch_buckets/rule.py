"""When what lies in a scratch bucket goes: the one rule, by which the facility's job removes and a notebook tells.

A thing goes ``days`` after the last of its objects was written, and not before its owner could read for ``NOTICE_DAYS``
that it will. So when the days become fewer, or a researcher was locked out, nothing goes without a week's notice.

With the standard library alone: the job runs in an environment without xarray.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from appliance.data.cataloguing import believed

DAY = 86_400.0  # s
NOTICE_DAYS = 7
# After so many days without a look of the job nobody can have read what goes: the week begins anew.
GAP_DAYS = 3
# Things of one bucket in one look, those that go first: a bucket may have millions, and all would be in memory.
MOST = 2000
NOTICES = "notices"  # in the job's own bucket: one object for each scratch bucket, which its owner may read
OWN_BUCKET = "appliance-scratch"  # of role `scratch`
_VERSION = 1
_CATALOGUE = believed.ITEMS.partition("/")[0] + "/"  # what it says goes with the datasets of which it says it


@dataclass(frozen=True)
class Written:
    """One object: its key, its bytes, and when it was written, in seconds since 1970."""

    key: str
    nbytes: int
    at: float


@dataclass(frozen=True)
class Thing:
    """What lies directly in a scratch bucket.

    Attributes:
        name: of an object its key; of a folder its name with a slash behind it.
        nbytes: of all its objects.
        objects: how many these are.
        newest: when the last of them was written, in seconds since 1970.
        told: since when its owner can read that it goes, in seconds since 1970; None where that is not written yet.
    """

    name: str
    nbytes: int
    objects: int
    newest: float
    told: float | None = None

    def is_near(self, days: int, now: float) -> bool:
        """Whether its owner has to be told now."""
        return now >= self.newest + (days - NOTICE_DAYS) * DAY

    def goes(self, days: int, now: float) -> float:
        """When it goes, in seconds since 1970, where nobody writes to it any more."""
        told = self.told if self.told is not None else now if self.is_near(days, now) else None
        due = self.newest + days * DAY
        return due if told is None else max(due, told + NOTICE_DAYS * DAY)


def things(objects: Iterable[Written]) -> Iterator[Thing]:
    """What lies directly in a bucket, from all its objects in the order of their keys."""
    for name, group in groupby(objects, key=lambda one: _top(one.key)):
        if name == _CATALOGUE:
            continue
        nbytes = count = 0
        newest = 0.0
        for one in group:
            nbytes, count, newest = nbytes + one.nbytes, count + 1, max(newest, one.at)
        yield Thing(name, nbytes, count, newest)


def _top(key: str) -> str:
    name, slash, _ = key.partition("/")
    return name + slash


def oldest(found: Iterable[Thing]) -> list[Thing]:
    """The ``MOST`` that go first, in that order. No more are in memory."""
    return heapq.nsmallest(MOST, found, key=lambda one: (one.newest, one.name))


@dataclass(frozen=True)
class Notice:
    """What the owner of a scratch bucket can read of it.

    Attributes:
        days: after how many days things go.
        looked: when the job saw them last, in seconds since 1970.
        things: those that go first, in that order.
    """

    days: int
    looked: float
    things: tuple[Thing, ...] = ()

    def is_current(self, now: float) -> bool:
        """Whether the job still looks. Where it does not, nothing goes."""
        return now - self.looked <= GAP_DAYS * DAY

    def with_told(self, found: Iterable[Thing], now: float) -> list[Thing]:
        """The ``MOST`` of them that go first, each with the time since when this notice tells of it.

        What has been written to since is not told, and nothing is where the job has not looked for days.
        """
        told = {one.name: one for one in self.things} if self.is_current(now) else {}
        made = []
        for one in oldest(found):
            since = told[one.name].told if one.name in told and one.newest <= told[one.name].newest else None
            # Told in what would be the future: a clock was wrong then.
            made.append(replace(one, told=None if since is None or since > now else since))
        return made

    def next(self, found: Iterable[Thing], days: int, now: float) -> Notice:
        """The notice of this look, in which everything is told that has to be."""
        made = [
            replace(one, told=None if not one.is_near(days, now) else now if one.told is None else one.told)
            for one in self.with_told(found, now)
        ]
        return Notice(days, now, tuple(made))

    def due(self, now: float) -> list[Thing]:
        """What is removed now: nothing that was first told in this very look."""
        return [one for one in self.things if one.told is not None and one.goes(self.days, now) <= now]

    def near(self, now: float) -> list[Thing]:
        """What goes within the next ``NOTICE_DAYS``."""
        return [one for one in self.things if one.goes(self.days, now) <= now + NOTICE_DAYS * DAY]

    def without(self, gone: Iterable[Thing]) -> Notice:
        """The same after some were removed."""
        left = set(gone)
        return replace(self, things=tuple(one for one in self.things if one not in left))

    def document(self) -> bytes:
        """As it is kept."""
        told = [[one.name, one.nbytes, one.objects, one.newest, one.told] for one in self.things]
        return json.dumps({"version": _VERSION, "days": self.days, "looked": self.looked, "things": told}).encode()

    @classmethod
    def read(cls, document: bytes) -> Notice:
        """Raises ``ValueError`` where it is none."""
        try:
            told: Mapping[str, Any] = json.loads(document)
            if told["version"] != _VERSION:
                raise ValueError(f"a notice of version {told['version']}, and this program knows {_VERSION}")
            found = (
                Thing(str(name), int(nbytes), int(objects), float(newest), None if since is None else float(since))
                for name, nbytes, objects, newest, since in told["things"]
            )
            return cls(int(told["days"]), float(told["looked"]), tuple(found))
        except (KeyError, TypeError) as error:
            raise ValueError(f"is no notice: {error!r}") from error


NOTHING = Notice(0, 0.0)


def day_of(moment: float) -> str:
    """A moment as a day and a minute of UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
