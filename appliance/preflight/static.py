"""Checks that know nothing but the inventory."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault
from appliance.preflight.people import people
from appliance.preflight.role_catalogue import Option, Play

# One label of RFC 1123, in lower case: it becomes the machine's name, its CRUSH host and part of unit names.
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
GROUPS_OF_ANSIBLE = frozenset({"all", "ungrouped"})
# What runs once on a site, and what must run somewhere. Ceph's own groups have their own rules below.
ONCE = ("gateway", "jupyterhub", "builder")
SOMEWHERE = ("ceph_mgr", "ceph_rgw", "compute_node")
LEAST_STORAGE_HOSTS = 3
LEAST_PLACEMENT_HOSTS = 2


def host_names(facility: Facility) -> Iterator[Fault]:
    """Each machine's name is one that DNS, Ceph and systemd can hold."""
    for host in facility.hosts:
        if not HOST_NAME.fullmatch(host) or host == "localhost":
            yield Fault(
                "inventory_hostname",
                host,
                "name the machine with 1 to 63 lower-case letters, digits and inner hyphens (RFC 1123)",
                host,
            )


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


def addresses(facility: Facility) -> Iterator[Fault]:
    """Each machine has an address of its own on the storage network."""
    owners: dict[str, list[str]] = defaultdict(list)
    for host in facility.hosts:
        value = facility.value(host, "machine_address")
        if value is None:
            continue  # a missing variable is reported as such
        try:
            address = ipaddress.ip_address(str(value))
        except ValueError:
            yield Fault("machine_address", str(value), "give the machine's IP address on the storage network", host)
            continue
        if address.version != 4:
            # Roles write it before ports without brackets, and Ceph's daemons listen on IPv4 unless told otherwise.
            yield Fault("machine_address", str(value), "give an IPv4 address: machines speak IPv4 to each other", host)
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            yield Fault("machine_address", str(value), "give an address that the other machines can reach", host)
        owners[str(address)].append(host)
    for text, hosts in owners.items():
        if len(hosts) > 1:
            yield Fault(
                "machine_address", f"{text} for {', '.join(sorted(hosts))}", "give each machine its own address"
            )


def devices(facility: Facility) -> Iterator[Fault]:
    """Disks are named by what they are, not by the order in which the kernel found them."""
    for host in facility.members("ceph_osd"):
        value = facility.value(host, "ceph_osd_devices")
        if value is None:
            continue
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            yield Fault("ceph_osd_devices", str(value), "list one or more paths below /dev/disk/by-id/", host)
            continue
        for device in value:
            parts = PurePosixPath(device).parts
            if parts[:3] != ("/", "dev", "disk") or len(parts) < 5 or ".." in parts:
                yield Fault(
                    "ceph_osd_devices",
                    device,
                    "name the disk by a path below /dev/disk/by-id/: other names can mean another disk after a boot",
                    host,
                )
        for device in sorted({device for device in value if value.count(device) > 1}):
            yield Fault("ceph_osd_devices", device, "name each disk once", host)


def sizes(facility: Facility) -> Iterator[Fault]:
    """No pool asks for more copies than there are hosts to hold them."""
    hosts = len(facility.members("ceph_osd"))
    for variable in ("ceph_rgw_data_size", "ceph_rgw_meta_size"):
        value = facility.group_value(variable)
        if value is None:
            continue
        try:
            size = int(str(value))
        except ValueError:
            size = 0
        if size < 2:
            yield Fault(variable, str(value), "keep at least 2 copies (3 for data that has no other home)")
        elif size > hosts:
            yield Fault(variable, str(value), f"there are {hosts} storage hosts for the copies: lower it or add hosts")


def required(facility: Facility) -> Iterator[Fault]:
    """What a role's argument_specs.yml requires is set on each machine that the role runs on."""
    for play, name, option in _options(facility):
        if not option.required or name in facility.catalogue.provided:
            continue
        for host in facility.members(play.pattern):
            defined = facility.names.get(host, frozenset())
            if name not in defined:
                yield Fault(name, "(missing)", f"set it: {_first_sentence(option.description)}", host)
            elif not option.secret and name not in facility.values.get(host, {}):
                yield Fault(name, "(refers to an undefined variable)", "define what its expression names", host)


def references(facility: Facility) -> Iterator[Fault]:
    """What a role's default refers to is set on each machine that the role runs on."""
    for play in facility.catalogue.plays:
        for name, own in facility.catalogue.references.get(play.role, {}).items():
            for host in facility.members(play.pattern):
                if name not in facility.names.get(host, ()) and own not in facility.names.get(host, ()):
                    yield Fault(name, "(missing)", f"set it: {own} of the role {play.role} is made of it", host)


def choices(facility: Facility) -> Iterator[Fault]:
    """A value that a role limits to choices, or to a number, is one of them."""
    for play, name, option in _options(facility):
        for host in facility.members(play.pattern):
            value = facility.values.get(host, {}).get(name)
            if value is None:
                continue
            if option.choices and value not in option.choices:
                yield Fault(name, str(value), f"choose one of {', '.join(map(str, option.choices))}", host)
            elif not _fits(value, option.type):
                yield Fault(name, repr(value), f"give a value of type {option.type}", host)


def _options(facility: Facility) -> Iterator[tuple[Play, str, Option]]:
    """Yield each play with each option of its role, and of the roles that this depends on."""
    for play in facility.catalogue.plays:
        for role in sorted(facility.catalogue.with_dependencies(play.role)):
            for name, option in facility.catalogue.options.get(role, {}).items():
                yield play, name, option


def _fits(value: object, kind: str) -> bool:
    """Tell whether Ansible would take ``value`` as an option of type ``kind``."""
    if kind in {"int", "float"}:
        try:
            float(str(value))
        except ValueError:
            return False
        return kind == "float" or float(str(value)).is_integer()
    if kind == "bool":
        return str(value).lower() in {"true", "false", "yes", "no", "on", "off", "1", "0", "y", "n", "t", "f"}
    if kind == "dict":
        return isinstance(value, dict)
    if kind == "list":
        return isinstance(value, list)
    return kind == "raw" or not isinstance(value, (dict, list))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text.strip(), maxsplit=1)[0].rstrip(".") or "the role has no default for it"


CHECKS = (
    host_names,
    groups,
    storage_hosts,
    counts,
    one_head,
    placement_services,
    addresses,
    devices,
    sizes,
    people,
    required,
    references,
    choices,
)
