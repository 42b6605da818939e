"""What the operator accepts knowingly: a fault by its variable and its value, as the table shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

VARIABLE = "preflight_accepted"


def sorted_out(facility: Facility, faults: Iterable[Fault]) -> tuple[list[Fault], list[Fault]]:
    """Return the faults that stand, and those that the site accepts. Another value of the same variable stands."""
    stand: list[Fault] = []
    accepted: list[Fault] = []
    for fault in faults:
        named = facility.value(fault.host, VARIABLE) if fault.host else facility.group_value(VARIABLE)
        known = named.get(fault.variable, ()) if isinstance(named, Mapping) else ()
        values = known if isinstance(known, (list, tuple)) else [known]
        (accepted if fault.value in map(str, values) else stand).append(fault)
    return stand, accepted
