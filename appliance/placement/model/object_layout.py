"""Of which RADOS objects an S3 object is made: for a range of its bytes the pieces, by name, pool and offset.

An object of at most a chunk is one RADOS object, and its name tells all. A larger one is a head and stripes with a
random prefix; one uploaded in parts has no data in its head, and stripes for each part. What they are called is
written in the object's manifest, of which this is the part that matters. The rules of names and offsets are those of
``RGWObjManifest::obj_iterator::seek`` and ``get_implicit_location`` in Ceph's ``src/rgw/driver/rados``.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from appliance.placement.errors import MapError
from appliance.placement.model.rados_names import locator, rados_name

MAX_PIECES = 100_000  # of one range: an upload has at most 10,000 parts. More is a layout that is damaged or lies.


@dataclass(frozen=True)
class Piece:
    """Bytes ``offset`` to ``offset + bytes`` of an S3 object, which lie in one RADOS object from ``within`` on.

    ``pool`` is the pool's number. ``locator`` is the text whose hash places the RADOS object ``name``.
    """

    offset: int
    bytes: int
    pool: int
    name: str
    locator: str
    within: int = 0


@dataclass(frozen=True)
class Rule:
    """How the bytes from ``start`` on are cut up.

    That is into parts of ``part_bytes`` (0: one part without an end), numbered from ``part``, and these into stripes
    of ``stripe_bytes``. ``prefix`` takes the place of the layout's own.
    """

    part: int
    start: int
    part_bytes: int
    stripe_bytes: int
    prefix: str = ""


@dataclass(frozen=True)
class Layout:
    """Where all bytes of an object lie; one state of the object, which its ``etag`` names.

    ``bytes`` is the object's size. The first ``head_bytes`` of it lie in its head, the rest in stripes of bucket marker
    ``marker`` and version ``version`` in pool ``pool``, as the ``rules`` say. ``explicit`` takes the rules' place in
    objects of RGW's first years: pieces in order, each with a name of its own.
    """

    etag: str
    bytes: int
    head: Piece
    head_bytes: int
    max_head_bytes: int
    prefix: str
    marker: str
    version: str
    pool: int
    rules: tuple[Rule, ...] = ()
    explicit: tuple[Piece, ...] = ()
    _starts: list[int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", [entry.start for entry in self.rules])
        self._check()

    def _check(self) -> None:
        """Raise ``MapError`` for a layout that leaves a byte without a place, or gives it two."""
        if not 0 <= self.head_bytes <= self.bytes:
            raise MapError(f"head_bytes is {self.head_bytes}, not from 0 to the object's {self.bytes} bytes")
        if self.explicit:
            at = 0
            for piece in self.explicit:
                if piece.offset != at or piece.bytes < 1:
                    raise MapError(f"a piece begins at {piece.offset} with {piece.bytes} bytes, and {at} is the next")
                at += piece.bytes
            if at != self.bytes:
                raise MapError(f"the pieces have {at} bytes, and the object {self.bytes}")
        elif self.head_bytes < self.bytes:
            if not self.rules or self.rules[0].start > self.head_bytes:
                raise MapError(f"no rule says where byte {self.head_bytes} lies")
            for number, rule in enumerate(self.rules):
                if rule.stripe_bytes < 1 or rule.part_bytes < 0 or rule.part < 0 or rule.start < 0:
                    raise MapError(f"rules[{number}] is {rule}, which cuts nothing up")
                if number and self.rules[number - 1].start >= rule.start:
                    raise MapError(f"rules[{number}] starts at {rule.start}, not behind the one before")

    def pieces(self, offset: int = 0, length: int | None = None) -> list[Piece]:
        """Return the pieces that ``length`` bytes from ``offset`` on touch, cut to the range, in their order.

        Bytes behind the object's end are left out. Raises ``ValueError`` for a negative offset or length, and
        ``MapError`` for a range of more pieces than any real object has.
        """
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"a range begins at 0 or later and has no negative length: offset {offset}, {length}")
        end = self.bytes if length is None else min(self.bytes, offset + length)
        found: list[Piece] = []
        at = offset
        while at < end:
            uncut = self._piece_at(at)
            stop = min(end, uncut.offset + uncut.bytes)
            within = uncut.within + at - uncut.offset
            found.append(Piece(at, stop - at, uncut.pool, uncut.name, uncut.locator, within))
            if len(found) > MAX_PIECES:
                raise MapError(f"{end - offset} bytes would lie in more than {MAX_PIECES} pieces")
            at = stop
        return found

    def _piece_at(self, at: int) -> Piece:
        """Return the piece that byte ``at`` lies in, not cut to any range."""
        if self.explicit:
            return self.explicit[bisect_right(self.explicit, at, key=lambda piece: piece.offset) - 1]
        if at < self.head_bytes:
            return self.head
        number = max(0, bisect_right(self._starts, at) - 1)
        rule = self.rules[number]
        part = rule.part + (at - rule.start) // rule.part_bytes if rule.part_bytes else rule.part
        part_start = rule.start + (part - rule.part) * rule.part_bytes
        stripe = (at - part_start) // rule.stripe_bytes
        start = part_start + stripe * rule.stripe_bytes
        stop = min(start + rule.stripe_bytes, self.bytes)
        if rule.part_bytes:
            stop = min(stop, part_start + rule.part_bytes)
        if number + 1 < len(self.rules):
            stop = min(stop, self.rules[number + 1].start)
        if not part and self.head_bytes:
            stripe += 1  # the head is stripe 0
        return self._stripe(rule.prefix or self.prefix, part, stripe, start, stop - start)

    def _stripe(self, prefix: str, part: int, stripe: int, start: int, size: int) -> Piece:
        if not part:
            if start < self.max_head_bytes:
                return Piece(start, size, self.head.pool, self.head.name, self.head.locator)
            key, namespace = f"{prefix}{stripe}", "shadow"
        elif stripe == 0:
            key, namespace = f"{prefix}.{part}", "multipart"
        else:
            key, namespace = f"{prefix}.{part}_{stripe}", "shadow"
        name = rados_name(self.marker, key, self.version, namespace)
        return Piece(start, size, self.pool, name, locator(self.marker, key, self.version, namespace))
