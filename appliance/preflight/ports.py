"""Checks of the ports that the facility listens on: what each may be, and that no two meet on a machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from appliance.preflight.facility import Facility, whole_number
from appliance.preflight.fault import Fault
from appliance.preflight.role_catalogue import Listener

# Those above are handed out by the kernel to whoever asks for any port: nobody can keep one of them.
PORTS = range(1, 32768)
# A scheduler listens at three.
LEAST_RANGE = 3


def span(facility: Facility, host: str, listener: Listener) -> range:
    """Return the ports of a listener on a machine; none where the last one comes before the first.

    What is no number is reported as such, and the role's own port is in nobody's way.
    """

    def number(variable: str) -> int:
        return whole_number(facility.value(host, variable), facility.catalogue.defaults[variable])

    first = listener.port or number(listener.variable)
    return range(first, (number(listener.last) if listener.last else first) + 1)


def ports(facility: Facility) -> Iterator[Fault]:
    """Each port is one, and is that of one listener on each machine."""
    for host in facility.hosts:
        alone: dict[int, list[str]] = defaultdict(list)
        ranges: dict[str, range] = {}
        for listener in facility.catalogue.listeners:
            if host not in facility.members(listener.group):
                continue
            found = span(facility, host, listener)
            if listener.last:
                ranges[listener.variable] = found
                yield from _faults_of_range(facility, host, listener, found)
            else:
                if found.start not in PORTS:
                    yield _out_of_range(listener.name, found.start, host)
                if listener.name not in alone[found.start]:
                    alone[found.start].append(listener.name)
        fix = "give each a port of its own: these listen on the same machine"
        for port, names in alone.items():
            if len(names) > 1:
                yield Fault(", ".join(names), f"{port} for each of them", fix, host)
            for variable, found in ranges.items():
                if port in found:
                    yield Fault(", ".join([*names, variable]), f"{port} is in {_shown(found)}", fix, host)
        for (one, its), (other, theirs) in combinations(ranges.items(), 2):
            if its.start < theirs.stop and theirs.start < its.stop and its and theirs:
                yield Fault(f"{one}, {other}", f"{_shown(its)} and {_shown(theirs)}", fix, host)


def _faults_of_range(facility: Facility, host: str, listener: Listener, found: range) -> Iterator[Fault]:
    for variable, port in ((listener.variable, found.start), (listener.last, found.stop - 1)):
        if port not in PORTS:
            yield _out_of_range(variable, port, host)
    if found.stop - found.start < LEAST_RANGE:
        fix = f"give a number of at least {listener.variable} + {LEAST_RANGE - 1}: {found.start + LEAST_RANGE - 1}"
        yield Fault(listener.last, str(found.stop - 1), fix, host)
    least = _first_open(facility, host)
    if listener.unprivileged and found.start < least:
        fix = f"give {least} or more: researchers' processes cannot listen below it (closed_ports_first_open)"
        yield Fault(listener.variable, str(found.start), fix, host)


def _first_open(facility: Facility, host: str) -> int:
    """Return the first port that researchers' processes may listen at, as the role closed_ports calculates it."""
    ours = [listener for listener in facility.catalogue.listeners if not listener.unprivileged]
    ends = [span(facility, host, listener).stop for listener in ours]
    calculated = max(end for end in ends if end - 1 in PORTS)  # what is no port is reported as such
    return whole_number(facility.value(host, "closed_ports_first_open"), calculated)


def _out_of_range(variable: str, port: int, host: str) -> Fault:
    fix = f"choose a port from {PORTS.start} to {PORTS.stop - 1}: any program may get those above"
    return Fault(variable, str(port), fix, host)


def _shown(found: range) -> str:
    return f"{found.start} to {found.stop - 1}"


CHECKS = (ports,)
