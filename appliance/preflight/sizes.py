"""Checks of sizes against the machines: what is promised on one is there."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault
from appliance.preflight.forms import amount
from appliance.preflight.live import answering

GIB = 2**30
# Sizes that a machine of the role has to have in all.
WITHIN_MACHINE = (
    "jupyterhub_memory_limit",
    "node_base_storage_memory_low",
    "node_base_storage_memory_min",
    "node_base_compute_memory_max",
    "node_base_notebooks_memory_max",
)
# A machine shows some percent less memory than it has: the kernel keeps them.
TOLERANCE = 1.1
# Whose daemons are in the slice of storage.
STORAGE = ("ceph_mon", "ceph_mgr", "ceph_osd", "ceph_rgw")
# On machines of the group, storage's guarantee and the slice's limit are one memory.
SLICES = (("compute_node", "node_base_compute_memory_max"), ("jupyterhub", "node_base_notebooks_memory_max"))


def within_machine(facility: Facility) -> Iterator[Fault]:
    """No size that the inventory gives is more than the machine has. The roles' own ones are limits of limits."""
    for host, memory in _memories(facility).items():
        for variable in WITHIN_MACHINE:
            size = _bytes(facility.values.get(host, {}).get(variable), None)
            if size is not None and size > memory * TOLERANCE and host in facility.hosts_of(variable):
                fix = f"give at most what the machine has, {memory / GIB:.1f} GiB"
                yield Fault(variable, str(facility.value(host, variable)), fix, host)


def osds(facility: Facility) -> Iterator[Fault]:
    """What analysis leaves of a machine is enough for its OSDs."""
    memories = _memories(facility)
    for host in facility.members("ceph_osd"):
        devices = facility.value(host, "ceph_osd_devices")
        target = _bytes(facility.value(host, "ceph_osd_memory_target"), None)
        if host not in memories or not isinstance(devices, list) or target is None:
            continue
        compute = host in facility.members("compute_node")
        taken = _bytes(facility.value(host, "node_base_compute_memory_max"), memories[host]) if compute else 0.0
        left = memories[host] - (taken or 0.0)
        if len(devices) * target > left * TOLERANCE:
            fix = (
                f"{len(devices)} OSDs take {len(devices) * target / GIB:.1f} GiB, and the machine has "
                f"{memories[host] / GIB:.1f} GiB less what node_base_compute_memory_max gives to analysis: lower either"
            )
            yield Fault("ceph_osd_memory_target", str(facility.value(host, "ceph_osd_memory_target")), fix, host)


def guarantees(facility: Facility) -> Iterator[Fault]:
    """What storage keeps in any case, and what analysis may take, are not more than all there is."""
    memories = _memories(facility)
    variable = "node_base_storage_memory_min"
    for group, limit in SLICES:
        for host in facility.members(group):
            if not any(host in facility.members(one) for one in STORAGE):
                continue  # nothing there has the guarantee
            # A machine that was not asked is judged where both are percent: then its memory does not matter.
            values = [facility.value(host, name) for name in (variable, limit)]
            known = host in memories or all(str(value).endswith("%") for value in values)
            parts = [_bytes(value, memories.get(host, 100.0)) for value in values] if known else [None]
            if all(part is not None for part in parts):
                total = sum(part for part in parts if part is not None)
                if total > memories.get(host, 100.0) * TOLERANCE:
                    fix = f"lower it, or {limit} = {values[1]}: together they are more than the machine has"
                    yield Fault(variable, str(values[0]), fix, host)


def workers(facility: Facility) -> Iterator[Fault]:
    """A worker of the usual size fits into what one researcher gets of a machine."""
    memories = _memories(facility)
    variable, limit = "gateway_worker_memory_gib", "node_base_compute_researcher_memory_max"
    value = facility.group_value(variable)
    size = _bytes(value, None)
    for host in facility.members("compute_node") if size is not None else ():
        share = facility.value(host, limit)
        most = _bytes(share, memories.get(host))
        if most is not None and size is not None and size * GIB > most * TOLERANCE:
            fix = (
                f"give less than {limit} = {share}, {most / GIB:.1f} GiB: a worker that fills its memory would be ended"
            )
            yield Fault(variable, str(value), fix, host)


def _memories(facility: Facility) -> dict[str, float]:
    """Return the bytes of memory of each machine that said so."""
    live = answering(facility)
    return {host: float(facts["memory_bytes"]) for host, facts in live.items() if facts.get("memory_bytes")}


def _bytes(value: object, memory: float | None) -> float | None:
    """Return what a size or a share of ``memory`` amounts to; None where it is none, or memory is not known."""
    if value is None or isinstance(value, (bool, list, dict)):
        return None
    try:
        number, what = amount(str(value))
    except ValueError:
        return None
    if what == "percent":
        return None if memory is None else number * memory / 100
    return number


CHECKS = (within_machine, osds, guarantees, workers)
