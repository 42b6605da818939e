"""What crosses the rack's network, as somebody sees it who listens there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

CANARY = b"appliance-canary-on-the-wire-"
_EVERY_FRAME = 0x0003  # ETH_P_ALL of linux/if_ether.h
_SOURCE = slice(26, 30)  # of an IPv4 packet in an Ethernet frame


def crosses(act: Callable[[], object], of: str = "") -> bool:
    """Whether the canary crosses the rack's bridge while ``act`` runs, in what a machine sends, or any of them."""
    seen, stop = threading.Event(), threading.Event()

    def watch(wire: socket.socket) -> None:
        while not stop.is_set():
            try:
                frame = wire.recv(65536)
            except TimeoutError:
                continue
            if CANARY in frame and (not of or frame[_SOURCE] == socket.inet_aton(of)):
                seen.set()

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(_EVERY_FRAME)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**25)
        # Bound to no card: the bridge itself is handed no frame that it only forwards, and its ports are.
        wire.settimeout(0.2)
        thread = threading.Thread(target=watch, args=[wire])
        thread.start()
        try:
            act()
        finally:
            stop.set()
            thread.join()
    return seen.is_set()
