"""Ceph's hash a name and a byte at a time, written from src/common/ceph_hash.cc and src/include/rados.h.

As plain as the published text and nothing like the vectorised code, so that the two do not share a mistake.
"""

MASK = 0xFFFFFFFF
BLOCK = 12


def mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = (a - b) & MASK
    a = (a - c) & MASK
    a ^= c >> 13
    b = (b - c) & MASK
    b = (b - a) & MASK
    b ^= (a << 8) & MASK
    c = (c - a) & MASK
    c = (c - b) & MASK
    c ^= b >> 13
    a = (a - b) & MASK
    a = (a - c) & MASK
    a ^= c >> 12
    b = (b - c) & MASK
    b = (b - a) & MASK
    b ^= (a << 16) & MASK
    c = (c - a) & MASK
    c = (c - b) & MASK
    c ^= b >> 5
    a = (a - b) & MASK
    a = (a - c) & MASK
    a ^= c >> 3
    b = (b - c) & MASK
    b = (b - a) & MASK
    b ^= (a << 10) & MASK
    c = (c - a) & MASK
    c = (c - b) & MASK
    c ^= b >> 15
    return a, b, c


def str_hash_rjenkins(name: bytes) -> int:
    a = b = 0x9E3779B9
    c = 0
    at = 0
    while len(name) - at >= BLOCK:
        k = name[at : at + BLOCK]
        a = (a + k[0] + (k[1] << 8) + (k[2] << 16) + (k[3] << 24)) & MASK
        b = (b + k[4] + (k[5] << 8) + (k[6] << 16) + (k[7] << 24)) & MASK
        c = (c + k[8] + (k[9] << 8) + (k[10] << 16) + (k[11] << 24)) & MASK
        a, b, c = mix(a, b, c)
        at += BLOCK
    c = (c + len(name)) & MASK
    for place, byte in enumerate(name[at:]):
        if place < 4:
            a = (a + (byte << 8 * place)) & MASK
        elif place < 8:
            b = (b + (byte << 8 * (place - 4))) & MASK
        else:
            c = (c + (byte << 8 * (place - 7))) & MASK
    return mix(a, b, c)[2]


def pg_num_mask(pg_num: int) -> int:
    mask = 1
    while mask < pg_num:
        mask *= 2
    return mask - 1


def stable_mod(hashed: int, pg_num: int) -> int:
    mask = pg_num_mask(pg_num)
    if hashed & mask < pg_num:
        return hashed & mask
    return hashed & (mask >> 1)
