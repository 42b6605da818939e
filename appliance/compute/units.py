"""What the gateway's backend and the launcher on the storage hosts agree on: requests, and the names of units.

Standard library only: the launcher imports it.
"""

from __future__ import annotations

import re

SCHEDULER, WORKER = "scheduler", "worker"
HEX_NAME = re.compile(r"[0-9a-f]{32}")  # dask-gateway's names of clusters and workers
SCHEDULER_ADDRESS = re.compile(r"tls://[0-9a-zA-Z.\[\]:-]+:[0-9]{1,5}")
USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


def unit_name(user: str, cluster: str, role: str, worker: str = "") -> str:
    """The unit of a user's scheduler, or of one of the workers: the user's name stands in it, so it is nobody else's.

    >>> unit_name("alice", "0" * 32, "scheduler")
    'dask-alice-00000000000000000000000000000000-scheduler.service'
    """
    return f"dask-{user}-{cluster}-{role}{'-' + worker if role == WORKER else ''}.service"


def unit_pattern(user: str) -> re.Pattern[str]:
    """Matches whole unit names that are this user's. User "a" owns nothing of user "a-b": a hex name has no dash."""
    name = HEX_NAME.pattern
    return re.compile(rf"dask-{re.escape(user)}-{name}-({SCHEDULER}|{WORKER}-{name})\.service")
