"""Ports of schedulers and workers, from a stated range, so that a firewall can name them. Standard library only."""

from __future__ import annotations

import fcntl
import socket
from pathlib import Path


def take(count: int, address: str, least: int, most: int, last: Path) -> list[int]:
    """Return ports that are free now, in turn: one that was given out is given again only after all others.

    So two units that start at the same time get different ports, though neither listens yet. Should a researcher's own
    program take a port in between, then the unit that was to have it ends and says so, or has its pages at a port that
    the firewall keeps closed.

    Args:
        count: how many.
        address: at which they are to be free.
        least: the first port of the range.
        most: the last.
        last: a file that keeps which port was given out last; made on first use.

    Raises:
        RuntimeError: fewer than ``count`` are free.
    """
    with last.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        begin = int(file.read() or most) + 1 - least
        ports = range(least, most + 1)
        found: list[int] = []
        for step in range(len(ports)):
            port = ports[(begin + step) % len(ports)]
            if _is_free(address, port):
                found.append(port)
            if len(found) == count:
                file.truncate(0)
                file.write(str(port))
                return found
    raise RuntimeError(f"fewer than {count} of the ports {least} to {most} are free at {address}")


def _is_free(address: str, port: int) -> bool:
    """Tell whether a program could listen there. One whose connections have just ended counts as taken."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as own:
        try:
            own.bind((address, port))
        except OSError:
            return False
    return True
