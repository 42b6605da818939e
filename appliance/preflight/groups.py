"""Checks of the groups: each is a role's switch, and some roles need each other, or a number of machines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

GROUPS_OF_ANSIBLE = frozenset({"all", "ungrouped"})
# What runs once on a site, and what must run somewhere. Ceph's own groups have their own rules below.
ONCE = ("gateway", "jupyterhub", "builder")
SOMEWHERE = ("ceph_mgr", "ceph_rgw", "compute_node")
LEAST_STORAGE_HOSTS = 3
LEAST_PLACEMENT_HOSTS = 2


def groups(facility: Facility) -> Iterator[Fault]:
    """Group = role = switch: a misspelt group would leave its role out in silence."""
    for group in sorted(set(facility.groups) - GROUPS_OF_ANSIBLE - facility.catalogue.roles):
        near = difflib.get_close_matches(group, sorted(facility.catalogue.roles), n=1, cutoff=0.8)
        if near:
            yield Fault("group", group, f"no role has this name; write {near[0]!r}, or choose a name unlike any role")


def storage_hosts(facility: Facility) -> Iterator[Fault]:
    """Enough machines for the copies and for the monitors' majority."""
    osds, mons = facility.members("ceph_osd"), facility.members("ceph_mon")
    if len(osds) < LEAST_STORAGE_HOSTS:
        yield Fault(
            "groups.ceph_osd",
            f"{len(osds)} hosts: {', '.join(osds) or 'none'}",
            f"name at least {LEAST_STORAGE_HOSTS} storage hosts: with fewer, one that fails stops all writes",
        )
    if len(mons) < LEAST_STORAGE_HOSTS or len(mons) % 2 == 0:
        yield Fault(
            "groups.ceph_mon",
            f"{len(mons)} hosts: {', '.join(mons) or 'none'}",
            "name an odd number of monitors, at least 3: they decide by majority",
        )


def counts(facility: Facility) -> Iterator[Fault]:
    """Roles that exist once do, and roles that must exist do."""
    for group in ONCE:
        members = facility.members(group)
        if len(members) != 1:
            yield Fault(f"groups.{group}", ", ".join(members) or "no host", "put exactly one machine into this group")
    for group in SOMEWHERE:
        if not facility.members(group):
            yield Fault(f"groups.{group}", "no host", "put at least one machine into this group")


def one_head(facility: Facility) -> Iterator[Fault]:
    """The Dask gateway and the hub know each other on one machine's loopback addresses."""
    gateways, hubs = facility.members("gateway"), facility.members("jupyterhub")
    if len(gateways) == len(hubs) == 1 and gateways != hubs:
        fix = f"put {hubs[0]}, the machine of group jupyterhub, into it: they ask each other on one machine"
        yield Fault("groups.gateway", gateways[0], fix)


def placement_services(facility: Facility) -> Iterator[Fault]:
    """The map of the data outlives any one machine."""
    members = facility.members("placement")
    if len(members) < LEAST_PLACEMENT_HOSTS:
        yield Fault(
            "groups.placement",
            ", ".join(members) or "no host",
            f"put the machines of ceph_mon into this group, at least {LEAST_PLACEMENT_HOSTS}: with fewer, one that "
            "fails makes reads remote",
        )


def names_of_machines(facility: Facility) -> Iterator[Fault]:
    """A role's name is no machine's: in the playbooks it would mean both. Other groups may have a machine's name."""
    for name in sorted(facility.catalogue.roles & set(facility.hosts)):
        yield Fault("inventory_hostname", name, "a role has this name: give the machine another", name)


CHECKS = (groups, names_of_machines, storage_hosts, counts, one_head, placement_services)
