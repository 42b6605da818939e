"""Checks that know nothing but the inventory."""

from __future__ import annotations

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


def required(facility: Facility) -> Iterator[Fault]:
    """What a role's argument_specs.yml requires is set on each machine that the role runs on."""
    for play, name, option in _options(facility):
        if not option.required or name in facility.catalogue.provided:
            continue
        for host in facility.members(play.pattern):
            defined = facility.names.get(host, frozenset())
            if name not in defined:
                yield Fault(name, "(missing)", f"set it: {_first_sentence(option.description)}", host)
            elif not (option.secret or name in facility.values.get(host, {}) or name in facility.errors.get(host, {})):
                yield Fault(name, "(refers to an undefined variable)", "define what its expression names", host)


def references(facility: Facility) -> Iterator[Fault]:
    """What a role's default refers to is set on each machine that the role runs on."""
    for play in facility.catalogue.plays:
        for name, own in facility.catalogue.references.get(play.role, {}).items():
            for host in facility.members(play.pattern):
                if name not in facility.names.get(host, ()) and own not in facility.names.get(host, ()):
                    yield Fault(name, "(missing)", f"set it: {own} of the role {play.role} is made of it", host)


def _options(facility: Facility) -> Iterator[tuple[Play, str, Option]]:
    """Yield each play with each option of its role, and of the roles that this depends on."""
    for play in facility.catalogue.plays:
        for role in sorted(facility.catalogue.with_dependencies(play.role)):
            for name, option in facility.catalogue.options.get(role, {}).items():
                yield play, name, option


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text.strip(), maxsplit=1)[0].rstrip(".") or "the role has no default for it"


CHECKS = (host_names, addresses, devices, people, required, references)
