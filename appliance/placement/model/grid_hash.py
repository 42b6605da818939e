"""Ceph's object hash of all chunks of an array, whose keys are a prefix and coordinates: ``era5/sst/c/0/12/3``.

No key is ever made. Keys whose coordinates have equal numbers of digits differ in bytes at fixed places only, so each
word that the hash takes in is a sum: what is the same in all keys, and a number looked up for each coordinate. And a
block of twelve bytes which only some coordinates reach into is mixed for these alone, not for every key.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from appliance.placement.model.rjenkins import BLOCK, Words, mix, state_after

BATCH = 2**16  # keys at a time: their working set stays in the processor's cache


def boxes(shape: Sequence[int], most: int = BATCH) -> Iterator[list[range]]:
    """Yield boxes that make up a grid in C order (the last axis runs fastest), each of at most ``most`` places.

    A box is a range for each axis; its places follow each other without a gap. Raises ``ValueError`` for a shape
    without axes or with a negative length.
    """
    if not shape or min(shape) < 0:
        raise ValueError(f"an array's chunks have one axis or more, none of negative length: {tuple(shape)}")
    # The axis that is cut: all behind it are whole in each box, all before it a single place.
    axis = len(shape) - 1
    while axis > 0 and math.prod(shape[axis:]) <= most:
        axis -= 1
    inner = math.prod(shape[axis + 1 :])
    step = max(1, most // inner) if inner else shape[axis]
    if not math.prod(shape):
        return
    for outer in itertools.product(*(range(length) for length in shape[:axis])):
        for start in range(0, shape[axis], step):
            cut = range(start, min(start + step, shape[axis]))
            yield [*(range(at, at + 1) for at in outer), cut, *(range(length) for length in shape[axis + 1 :])]


def hash_box(prefix: bytes, box: Sequence[range], separator: bytes = b"/") -> Words:
    """Return ``ceph_str_hash_rjenkins`` of prefix and coordinates for each place of a box, in the box's shape."""
    done = len(prefix) - len(prefix) % BLOCK
    start = state_after(prefix[:done])
    hashes = np.empty([len(axis) for axis in box], dtype=np.uint32)
    for parts in itertools.product(*(list(_by_digits(axis)) for axis in box)):
        inside = tuple(
            slice(part.start - axis.start, part.stop - axis.start) for part, axis in zip(parts, box, strict=True)
        )
        hashes[inside] = _hash_alike(prefix, done, start, parts, separator)
    return hashes


def _by_digits(axis: range) -> Iterator[range]:
    """Cut a range where its numbers get another digit."""
    start = axis.start
    while start < axis.stop:
        stop = min(axis.stop, 10 ** len(str(start)))
        yield range(start, stop)
        start = stop


def _hash_alike(
    prefix: bytes, done: int, start: tuple[int, int, int], parts: Sequence[range], separator: bytes
) -> Words:
    """Hash keys that are all of one length. ``start`` is the state after the first ``done`` bytes of the prefix."""
    fixed = bytearray(prefix[done:])
    digits: list[tuple[int, int]] = []  # where each coordinate begins behind `done`, and its number of digits
    for place, part in enumerate(parts):
        fixed += separator if place else b""
        digits.append((len(fixed), len(str(part.start))))
        fixed += bytes(digits[-1][1])
    length = len(fixed)
    # The lowest byte of the last word belongs to the length: bytes in it stand one higher.
    last = length - length % BLOCK
    fixed[last + 8 : last + 8] = b"\0"
    fixed += bytes(last + BLOCK - len(fixed))
    words = [np.full([1] * len(parts), value, np.uint32) for value in np.frombuffer(bytes(fixed), "<u4")]
    for axis, (part, (begin, count)) in enumerate(zip(parts, digits, strict=True)):
        numbers = np.arange(part.start, part.stop, dtype=np.uint64)
        along = [-1 if other == axis else 1 for other in range(len(parts))]
        tables: dict[int, Words] = {}
        for place in range(count):
            at = begin + place
            at += at >= last + 8
            digit = (numbers // 10 ** (count - 1 - place) % 10 + ord("0")).astype(np.uint32) << np.uint32(8 * (at % 4))
            tables[at // 4] = tables[at // 4] + digit if at // 4 in tables else digit
        for word, table in tables.items():
            words[word] = words[word] + table.reshape(along)
    a, b, c = (np.full([1] * len(parts), value, np.uint32) for value in start)
    words[-1] = words[-1] + np.uint32((done + length) & 0xFFFFFFFF)
    for block in range(0, len(words), 3):
        taken = words[block : block + 3]
        shape = np.broadcast_shapes(a.shape, *(word.shape for word in taken))
        a, b, c = (np.broadcast_to(one, shape) + word for one, word in zip((a, b, c), taken, strict=True))
        mix(a, b, c, np.empty(shape, np.uint32))
    return c
