"""Checks of the ports that the facility listens on: what each may be, and that no two meet on a machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from appliance.preflight.facility import Facility, whole_number
from appliance.preflight.fault import Fault

# Those above are handed out by the kernel to whoever asks for any port: nobody can keep one of them.
PORTS = range(1, 32768)


def ports(facility: Facility) -> Iterator[Fault]:
    """Each port is one, and is that of one listener on each machine."""
    for host in facility.hosts:
        listeners: dict[int, list[str]] = defaultdict(list)
        for listener in facility.catalogue.listeners:
            if host not in facility.members(listener.group):
                continue
            # What is no number is reported as such, and the role's own port is in nobody's way.
            default = facility.catalogue.defaults[listener.variable]
            port = whole_number(facility.value(host, listener.variable), default)
            if port not in PORTS:
                fix = f"choose a port from {PORTS.start} to {PORTS.stop - 1}: any program may get those above"
                yield Fault(listener.variable, str(port), fix, host)
            listeners[port].append(listener.variable)
        for port, variables in listeners.items():
            if len(variables) > 1:
                fix = "give each a port of its own: these listen on the same machine"
                yield Fault(", ".join(variables), f"{port} for each of them", fix, host)


CHECKS = (ports,)
