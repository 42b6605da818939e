"""All checks over a facility."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from appliance.preflight import (
    accounts,
    agreement,
    ceph,
    ceph_live,
    files,
    groups,
    live,
    log_in,
    names,
    networks,
    ports,
    sizes,
    static,
    values,
)
from appliance.preflight.accepted import sorted_out
from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

Check = Callable[[Facility], Iterator[Fault]]

CHECKS: tuple[Check, ...] = (
    *files.CHECKS,
    *groups.CHECKS,
    *static.CHECKS,
    *accounts.CHECKS,
    *ceph.CHECKS,
    *ports.CHECKS,
    *networks.CHECKS,
    *agreement.CHECKS,
    *names.CHECKS,
    *values.CHECKS,
    *log_in.CHECKS,
    *live.CHECKS,
    *sizes.CHECKS,
    *ceph_live.CHECKS,
)


def judge(facility: Facility) -> list[Fault]:
    """Return every fault that the site does not accept, in the order of the checks, each once."""
    return verdict(facility)[0]


def verdict(facility: Facility) -> tuple[list[Fault], list[Fault]]:
    """Return every fault of every check, in the order of the checks, each once: those that stand, the accepted ones."""
    return sorted_out(facility, dict.fromkeys(fault for check in CHECKS for fault in check(facility)))
