"""Where a scheduler may lead the gateway: to itself, and nowhere else.

A scheduler is its researcher's, and tells the gateway with its heartbeats at which addresses it is to be reached. The
gateway connects there, for whoever comes to its proxy and on its own account.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

# What a heartbeat names, and the scheme that it has to be of. A scheduler without a dashboard names no address of it.
_TOLD = {"scheduler_address": "tls", "api_address": "http", "dashboard_address": "http"}
_MAY_BE_EMPTY = {"dashboard_address"}

PORT_START = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def foreign_targets(told: Mapping[str, object], host: str, port_start: int) -> list[str]:
    """Return which addresses of a heartbeat are not the scheduler's own.

    Args:
        told: the heartbeat.
        host: the address of the machine that the scheduler was started on.
        port_start: the least port that a researcher's process can listen at; below are the facility's own.
    """
    return [name for name, scheme in _TOLD.items() if not _is_own(told.get(name), scheme, host, port_start, name)]


def _is_own(address: object, scheme: str, host: str, port_start: int, name: str) -> bool:
    if address == "" and name in _MAY_BE_EMPTY:
        return True
    if not isinstance(address, str):
        return False
    try:
        port = urlsplit(address).port
    except ValueError:
        return False
    if port is None or port < port_start:
        return False
    # Put together anew: no user, path, query or other spelling is left over in which two readers could differ.
    named = f"[{host}]" if ":" in host else host
    return address == f"{scheme}://{named}:{port}"


def tls_target(address: str) -> str:
    """Return where the TLS proxy finds a dashboard that calls itself ``http://HOST:PORT``; it speaks TLS alone."""
    return address.replace("http://", "tls://", 1)
