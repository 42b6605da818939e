"""Checks of what Ceph is told: copies, release, and settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from appliance.preflight.facility import Facility, whole_number
from appliance.preflight.fault import Fault

# Copies, and the least with which Ceph goes on writing.
COPIES = (("ceph_rgw_data_size", "ceph_rgw_data_min_size"), ("ceph_rgw_meta_size", "ceph_rgw_meta_min_size"))
FLOOR = "ceph_common_release_floor"
RELEASE = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)")
# Settings by section: in the monitors' database a section may have a mask, in ceph.conf not.
_SECTION = r"(global|client|(mon|mgr|osd|mds|client)(\.[A-Za-z0-9._-]+)?)"
SECTIONED = {"ceph_mon_settings": rf"{_SECTION}(/[a-z]+:[\w.-]+)*", "ceph_common_conf": _SECTION}
OF_ALL = ("global", "client", "mon", "mgr", "osd")
# What other parts of the facility have to know as well: a setting of Ceph's alone would contradict them.
OWNED = {
    "ms_bind_port_min": "ceph_osd_port_min",
    "ms_bind_port_max": "ceph_osd_port_max",
    "osd_memory_target": "ceph_osd_memory_target",
    "rgw_frontends": "ceph_rgw_port and ceph_rgw_tls_port",
    "rgw_max_chunk_size": "ceph_rgw_chunk_bytes",
    "rgw_obj_stripe_size": "ceph_rgw_chunk_bytes",
}


def sizes(facility: Facility) -> Iterator[Fault]:
    """No pool asks for more copies than there are hosts to hold them."""
    hosts = len(facility.members("ceph_osd"))
    for variable, _ in COPIES:
        value = facility.group_value(variable)
        if value is None:
            continue
        size = whole_number(value, 0)
        if size < 2:
            yield Fault(variable, str(value), "keep at least 2 copies (3 for data that has no other home)")
        elif size > hosts:
            yield Fault(variable, str(value), f"there are {hosts} storage hosts for the copies: lower it or add hosts")


def least_copies(facility: Facility) -> Iterator[Fault]:
    """What was said to be written lies on two disks at least."""
    for of, variable in COPIES:
        value, size = facility.group_value(variable), whole_number(facility.group_value(of), 0)
        if value is None or size < 2:
            continue
        least = whole_number(value, 0)
        if least < 1:
            yield Fault(variable, str(value), f"give a whole number from 2 to {of} = {size}")
        elif least < 2:
            fix = "give 2: with 1 a write counts as done while one disk alone has it, and is lost with that disk"
            yield Fault(variable, str(value), fix)


def floor(facility: Facility) -> Iterator[Fault]:
    """The oldest release that is accepted is one, and closes the holes that the role's own one closes."""
    least = str(facility.catalogue.defaults.get(FLOOR, ""))
    known = RELEASE.fullmatch(least)
    for host in facility.hosts_of(FLOOR) if known else ():
        value = facility.value(host, FLOOR)
        found = RELEASE.fullmatch(value) if isinstance(value, str) else None
        if not found:
            yield Fault(FLOOR, str(value), f'give a release of three numbers in quotes, such as "{least}"', host)
        elif known and _numbers(found) < _numbers(known):
            yield Fault(FLOOR, str(value), f"give {least} or a later one: those before it have known holes", host)
        elif known and found[1] != known[1]:
            yield Fault(FLOOR, str(value), f"give a release of {known[1]}: these roles know no other", host)


def settings(facility: Facility) -> Iterator[Fault]:
    """Settings stand in sections of Ceph's, are values, and contradict no variable of the roles."""
    for variable, pattern in SECTIONED.items():
        for host in facility.hosts_of(variable):
            found = facility.value(host, variable)
            for section, options in found.items() if isinstance(found, Mapping) else ():
                if not re.fullmatch(pattern, str(section)):
                    fix = "choose a section of Ceph's: global, mon, mgr, osd, mds or client, or one daemon's"
                    yield Fault(f"{variable}.{section}", str(options), fix, host)
                elif not isinstance(options, Mapping):
                    fix = "write values by option below the section"
                    yield Fault(f"{variable}.{section}", str(options), fix, host)
                else:
                    # One daemon, or those of one class, may have a value of their own.
                    yield from _options(f"{variable}.{section}", options, host, own=section not in OF_ALL)
    for host in facility.hosts_of("ceph_rgw_settings"):
        found = facility.value(host, "ceph_rgw_settings")
        if isinstance(found, Mapping):
            yield from _options("ceph_rgw_settings", found, host, own=False)


def _options(where: str, options: Mapping[object, object], host: str, own: bool) -> Iterator[Fault]:
    for option, value in options.items():
        name = str(option).replace(" ", "_").replace("-", "_")
        if name in OWNED and not own:
            fix = f"set {OWNED[name]} instead: other parts of the facility have to know it"
            yield Fault(f"{where}.{option}", str(value), fix, host)
        elif not isinstance(value, (str, int, float)):
            yield Fault(f"{where}.{option}", str(value), "give a value: a text, a number, true or false", host)


def _numbers(found: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, found.groups()))


CHECKS = (sizes, least_copies, floor, settings)
