"""Ports for servers that have to be told theirs before they start."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Return so many ports of 127.0.0.1 at which nothing listens.

    They are below those that the kernel gives to connections, or one might be taken before the server starts. All are
    held until the last is found: none comes twice.
    """
    first_of_kernel = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    draw = random.SystemRandom()  # not the tests' own, whose seed all workers share
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", draw.randrange(10_000, first_of_kernel)))
                found.append(probe.getsockname()[1])
    return found
