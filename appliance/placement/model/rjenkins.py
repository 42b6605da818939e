"""Ceph's object hash, over many names at once.

The formulas are Robert Jenkins' evahash as Ceph publishes it in ``src/common/ceph_hash.cc``
(``ceph_str_hash_rjenkins``) and ``ceph_stable_mod`` in ``src/include/ceph_hash.h``/``rados.h``. A name's bytes are
taken as little-endian 32-bit words in blocks of twelve bytes; each block is added to the state (a, b, c) and mixed;
what is left (0 to 11 bytes) is added together with the length, and mixed once more.

Two things make it fast. A prefix that all names share is mixed once, up to its last whole block. And names are sorted
by their number of blocks, so that each step works on one contiguous slice that fits into the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

BLOCK = 12  # bytes that one round of mixing takes in
BATCH = 8_192  # names at once: their working set stays in the processor's cache
GOLDEN_RATIO = 0x9E3779B9
_MASK32 = 0xFFFFFFFF
# The order and shifts of Jenkins' mix: three lines for each of these, alternately right, left, right.
_SHIFTS = ((13, 8, 13), (12, 16, 5), (3, 10, 15))

# For 0 to 11 left-over bytes: which bytes of the last three words count. The rest of the words is the next name's.
_TAIL_MASKS: Words = np.array(
    [[(1 << 8 * min(max(left - 4 * word, 0), 4)) - 1 for word in range(3)] for left in range(BLOCK)], dtype=np.uint32
)


def mix_scalar(a: int, b: int, c: int) -> tuple[int, int, int]:
    """Return a single state mixed."""
    for right, left, last in _SHIFTS:
        a = (a - b - c & _MASK32) ^ (c >> right)
        b = (b - c - a & _MASK32) ^ (a << left & _MASK32)
        c = (c - a - b & _MASK32) ^ (b >> last)
    return a, b, c


def mix(a: Words, b: Words, c: Words, scratch: Words) -> None:
    """Mix the states in place; ``scratch`` is as long as they are, and only spares an allocation a step."""
    for right, left, last in _SHIFTS:
        a -= b
        a -= c
        np.right_shift(c, right, out=scratch)
        a ^= scratch
        b -= c
        b -= a
        np.left_shift(a, left, out=scratch)
        b ^= scratch
        c -= a
        c -= b
        np.right_shift(b, last, out=scratch)
        c ^= scratch


def _encode(names: Sequence[str], glue: str) -> tuple[bytes, npt.NDArray[np.int64]]:
    """All names as UTF-8 in one buffer, ``glue`` before each, and each name's length in bytes without it."""
    joined = glue + glue.join(names)
    try:
        flat = joined.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a name holds {error.object[error.start : error.end]!a}, which UTF-8 cannot write") from error
    if len(flat) == len(joined):
        lengths = np.fromiter(map(len, names), dtype=np.int64, count=len(names))
    else:
        lengths = np.fromiter((len(name.encode()) for name in names), dtype=np.int64, count=len(names))
    # Words are read at every name's last block as a whole, so up to eleven bytes past its end.
    return flat + b"\0" * BLOCK, lengths


def _hash_batch(names: Sequence[str], glue: str, state: tuple[int, int, int], done: int) -> Words:
    flat, lengths = _encode(names, glue)
    glued = len(glue.encode())
    lengths += glued
    starts = np.cumsum(lengths) - lengths
    blocks_of = lengths // BLOCK
    # Sorted by the number of whole blocks, the names that still have one are always the tail of the arrays.
    order = np.argsort(blocks_of.astype(np.min_scalar_type(int(blocks_of.max()))), kind="stable")  # few bits sort fast
    blocks_of, starts, lengths = blocks_of[order], starts[order], lengths[order]
    # Every byte offset read as the start of a block: an overlapping view, no copy. Fetching blocks as opaque twelve
    # bytes is three times as fast as fetching their words one by one.
    blocks = np.ndarray((len(flat) - BLOCK + 1,), dtype=f"V{BLOCK}", buffer=flat, strides=(1,))

    a, b, c = (np.full(len(names), value, dtype=np.uint32) for value in state)
    scratch = np.empty(len(names), dtype=np.uint32)
    first = 0
    for block in range(int(blocks_of[-1]) + 1):
        # Names before `first` have ended already; those before `last` end within this block, the others fill it.
        last = int(np.searchsorted(blocks_of, block, side="right"))
        words: Words = blocks[starts[first:] + BLOCK * block].view("<u4").reshape(-1, 3)
        if last > first:
            ending = slice(first, last)
            tail = words[: last - first]
            tail &= _TAIL_MASKS.take(lengths[ending] - BLOCK * block, axis=0)
            # The lowest byte of c belongs to the length, so the last three bytes stand one higher.
            tail[:, 2] <<= np.uint32(8)
            c[ending] += (lengths[ending] + done).astype(np.uint32)
        part = slice(first, None)
        a[part] += words[:, 0]
        b[part] += words[:, 1]
        c[part] += words[:, 2]
        mix(a[part], b[part], c[part], scratch[part])
        first = last
    hashes = np.empty_like(c)
    hashes[order] = c
    return hashes


def hash_names(names: Sequence[str], prefix: str = "") -> Words:
    """Return ``ceph_str_hash_rjenkins`` of ``prefix + name`` in UTF-8 for each name.

    The result has one unsigned 32-bit hash for each name, in their order. Memory beyond it does not grow with the
    number of names. Raises ``ValueError`` for a name that UTF-8 cannot write (a lone surrogate).
    """
    prefix_bytes = prefix.encode()
    # The prefix's whole blocks are mixed once; the rest of it, cut between characters, goes before each name.
    cut = len(prefix_bytes) - len(prefix_bytes) % BLOCK
    while cut > 0 and not _is_boundary(prefix_bytes, cut):
        cut -= BLOCK
    state = state_after(prefix_bytes[:cut])
    glue = prefix_bytes[cut:].decode()
    hashes = np.empty(len(names), dtype=np.uint32)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        hashes[start : start + len(batch)] = _hash_batch(batch, glue, state, cut)
    return hashes


def state_after(blocks: bytes) -> tuple[int, int, int]:
    """Return the state after whole blocks of bytes at the beginning of a name."""
    a, b, c = GOLDEN_RATIO, GOLDEN_RATIO, 0
    for at in range(0, len(blocks), BLOCK):
        block = blocks[at : at + BLOCK]
        a = a + int.from_bytes(block[0:4], "little") & _MASK32
        b = b + int.from_bytes(block[4:8], "little") & _MASK32
        c = c + int.from_bytes(block[8:12], "little") & _MASK32
        a, b, c = mix_scalar(a, b, c)
    return a, b, c


def _is_boundary(text: bytes, at: int) -> bool:
    return at == len(text) or text[at] & 0xC0 != 0x80


def stable_mod(hashes: Words, pg_num: int) -> Words:
    """Return the placement group of each hash in a pool of ``pg_num`` groups (``ceph_stable_mod``).

    Where the hash's low bits name a group that a pool whose pg_num is no power of two does not have, one bit fewer
    is taken: so growing a pool splits groups instead of shuffling all of them. Raises ``ValueError`` for pg_num < 1.
    """
    if pg_num < 1:
        raise ValueError(f"a pool has at least one placement group, not {pg_num}")
    mask = np.uint32((1 << (pg_num - 1).bit_length()) - 1)
    low = hashes & mask
    return np.where(low < pg_num, low, hashes & (mask >> np.uint32(1)))
