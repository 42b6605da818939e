"""All checks over a facility."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from appliance.preflight import agreement, limits, live, log_in, networks, ports, static
from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

Check = Callable[[Facility], Iterator[Fault]]

CHECKS: tuple[Check, ...] = (
    *static.CHECKS,
    *ports.CHECKS,
    *networks.CHECKS,
    *agreement.CHECKS,
    *limits.CHECKS,
    *log_in.CHECKS,
    *live.CHECKS,
)


def judge(facility: Facility) -> list[Fault]:
    """Return every fault of every check, in the order of the checks, each once."""
    return list(dict.fromkeys(fault for check in CHECKS for fault in check(facility)))
