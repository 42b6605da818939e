"""What a researcher sees of their scratch: what is there, and when it goes."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import obstore
from obstore.exceptions import BaseError

from appliance.compute.reading import objects
from appliance.compute.reading.scratch import SUFFIX
from appliance.data.cataloguing import kept
from appliance.data.cataloguing.search import own_buckets
from appliance.data.scratch_buckets.rule import (
    NOTICE_DAYS,
    NOTICES,
    OWN_BUCKET,
    Notice,
    Thing,
    Written,
    day_of,
    things,
)

_HEADS = ("goes (UTC)", "MiB", "objects", "address")


@dataclass(frozen=True)
class Scratch:
    """What lies in one scratch bucket, what goes first at the top. A notebook shows a table.

    Attributes:
        bucket: its name.
        notice: what the facility's job says of it.
        now: when it was looked at, in seconds since 1970.
    """

    bucket: str
    notice: Notice
    now: float

    @property
    def things(self) -> tuple[Thing, ...]:
        """All of it, or the 2,000 that go first."""
        return self.notice.things

    @property
    def near(self) -> list[Thing]:
        """What goes within seven days."""
        return self.notice.near(self.now) if self.notice.is_current(self.now) else []

    def address(self, thing: Thing) -> str:
        """Where a thing lies, ``s3://bucket/name``."""
        return f"s3://{self.bucket}/{thing.name.rstrip('/')}"

    def goes(self, thing: Thing) -> float:
        """When a thing goes unless it is written to, in seconds since 1970."""
        return thing.goes(self.notice.days, self.now)

    def line(self) -> str:
        """What is said at the start of a terminal; nothing where nothing goes soon."""
        near = self.near
        if not near:
            return ""
        first = day_of(min(map(self.goes, near)))
        what = f"{self.address(near[0])} goes" if len(near) == 1 else f"{len(near)} datasets or files go"
        return (
            f"Scratch: {what} within {NOTICE_DAYS} days"
            f"{f', {self.address(near[0])} first' if len(near) > 1 else ''} (on {first} UTC). "
            "`appliance data scratch` lists them."
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it for a program."""
        listed = [
            {
                "address": self.address(one),
                "bytes": one.nbytes,
                "objects": one.objects,
                "written": one.newest,
                "goes": self.goes(one),
            }
            for one in self.things
        ]
        return {"bucket": self.bucket, "days": self.notice.days, "looked": self.notice.looked, "things": listed}

    def _cells(self) -> Iterator[tuple[str, str, str, str]]:
        near = set(self.near)
        for one in self.things:
            mark = f"  (within {NOTICE_DAYS} days)" if one in near else ""
            mib = f"{one.nbytes / 2**20:,.1f}"
            yield day_of(self.goes(one)), mib, f"{one.objects:,}", f"{self.address(one)}{mark}"

    def _notes(self) -> Iterator[str]:
        days = self.notice.days
        yield f"s3://{self.bucket}: what nobody has written to for {days} days goes as a whole."
        if not self.notice.is_current(self.now):
            looked = day_of(self.notice.looked)
            yield (
                f"The facility has not looked since {looked} UTC. Nothing goes until it does, and then not before "
                f"{NOTICE_DAYS} more days. Ask your operators."
            )
        if self.near:
            yield "Copy what you need to a bucket of yours that does not expire, or write it anew."

    def __str__(self) -> str:
        rows = [_HEADS, *self._cells()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows]
        return "\n".join([*self._notes(), *(lines if len(rows) > 1 else ["There is nothing."])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(tag: str, cells: tuple[str, ...]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"{notes}<table>{row('th', _HEADS)}{''.join(row('td', cells) for cells in self._cells())}</table>"


def scratch(*, listed: bool = True) -> list[Scratch]:
    """What lies in your scratch, and when it goes; an empty list where the facility has none, or has not looked yet.

    Args:
        listed: whether it is listed now. Otherwise it is as the facility saw it last, which is some hours ago at most,
            and takes one request.

    Raises:
        OSError: S3 cannot be reached, or refuses.
    """
    found = []
    for bucket in own_buckets():
        document = kept.read(OWN_BUCKET, f"{NOTICES}/{bucket}.json") if bucket.endswith(SUFFIX) else None
        if document is None:
            continue
        notice, now = Notice.read(document), time.time()
        if listed:
            told = notice.with_told(things(_objects(bucket)), now)
            notice = Notice(notice.days, notice.looked, tuple(told))
        found.append(Scratch(bucket, notice, now))
    return found


def _objects(bucket: str) -> Iterator[Written]:
    try:
        for page in obstore.list(objects.store(bucket, objects.own_access()), chunk_size=1000):
            for one in page:
                yield Written(one["path"], one["size"], one["last_modified"].timestamp())
    except (BaseError, OSError) as error:
        raise objects.plain(error, bucket, "") from error
