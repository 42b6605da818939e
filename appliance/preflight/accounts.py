"""Checks of numbers and names that researchers and groups share a space in, and of lists that name researchers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.preflight.facility import Facility, whole_number
from appliance.preflight.fault import Fault
from appliance.preflight.people import RESERVED

# systemd's own: homes of systemd-homed, units with DynamicUser, nobody (uid ranges of systemd, UIDS-GIDS.md).
SYSTEMD = range(60000, 65536)
SCRATCH = "-scratch"  # as in plugins/module_utils/s3_buckets.py
# Variables that name researchers who are present.
NAMED = ("compute_node_users", "ceph_s3_users_rotated")


def ids(facility: Facility) -> Iterator[Fault]:
    """Each number means one account and one group: a researcher's uid is the gid of a group of their own, too."""
    owners: dict[int, list[tuple[str, str]]] = defaultdict(list)
    common = str(facility.group_value("accounts_researchers_group", "researchers"))
    gid = whole_number(facility.group_value("accounts_researchers_gid"), 0)
    owners[gid].append(("accounts_researchers_gid", f"the group {common}"))
    for number, group in enumerate(_listed(facility, "accounts_groups")):
        where = f"accounts_groups[{number}].gid"
        owners[whole_number(group.get("gid"), 0)].append((where, f"the group {group.get('name')}"))
    for number, user in enumerate(_listed(facility, "accounts_users")):
        what = f"{user.get('name')}, whose own group has it as gid"
        owners[whole_number(user.get("uid"), 0)].append((f"accounts_users[{number}].uid", what))
    for number, found in owners.items():
        kinds = {where.partition("[")[0] for where, _ in found}
        if number and len(kinds) > 1:
            others = " and ".join(what for _, what in found[:-1])
            yield Fault(found[-1][0], str(number), f"choose another: it is that of {others} already")


def names(facility: Facility) -> Iterator[Fault]:
    """Each name means one group: a researcher's own group has the researcher's name."""
    common = str(facility.group_value("accounts_researchers_group", "researchers"))
    users = {str(user.get("name")) for user in _listed(facility, "accounts_users")}
    for number, group in enumerate(_listed(facility, "accounts_groups")):
        name = str(group.get("name"))
        if name in users:
            fix = "choose another: a researcher has this name, and so has the group of their own"
            yield Fault(f"accounts_groups[{number}].name", name, fix)
        elif name == common and name not in RESERVED:
            fix = "choose another: accounts_researchers_group has it, for the group of all researchers"
            yield Fault(f"accounts_groups[{number}].name", name, fix)
    if common in users or common in RESERVED - {"researchers"}:
        fix = "choose a name that no account and no group of the machines has"
        yield Fault("accounts_researchers_group", str(common), fix)


def scratch_buckets(facility: Facility) -> Iterator[Fault]:
    """No researcher's bucket bears the name of another's scratch bucket: role `ceph_s3_users` makes NAME-scratch."""
    if not whole_number(facility.group_value("scratch_days"), 0):
        return
    users = [str(user.get("name")) for user in _listed(facility, "accounts_users")]
    for number, name in enumerate(users):
        owner = name.removesuffix(SCRATCH)
        if owner != name and owner in users:
            fix = f"choose another: s3://{name} is the scratch of {owner}; or set scratch_days: 0"
            yield Fault(f"accounts_users[{number}].name", name, fix)


def uid_range(facility: Facility) -> Iterator[Fault]:
    """Researchers' numbers are none of those that systemd gives to whom it likes."""
    defaults = facility.catalogue.defaults
    least, most = (
        whole_number(facility.group_value(name), defaults[name]) for name in ("accounts_uid_min", "accounts_uid_max")
    )
    if least < SYSTEMD.stop and most >= SYSTEMD.start:
        fix = f"give less than {SYSTEMD.start}, or let accounts_uid_min begin at {SYSTEMD.stop}: systemd uses those"
        yield Fault("accounts_uid_max", str(most), fix)


def somebody(facility: Facility) -> Iterator[Fault]:
    """A facility has a researcher: the verification is one."""
    users = facility.group_value("accounts_users", [])
    if "accounts_users" in facility.catalogue.defaults and users == []:
        fix = "name at least one, as {name: alice, uid: 2001}: the verification uses the facility as a researcher"
        yield Fault("accounts_users", "[]", fix)


def named(facility: Facility) -> Iterator[Fault]:
    """Lists of researchers' names hold those of researchers who are present."""
    present = {
        str(user.get("name")) for user in _listed(facility, "accounts_users") if user.get("state") in (None, "present")
    }
    for variable in NAMED:
        for host in facility.hosts_of(variable):
            found = facility.values.get(host, {}).get(variable)
            for name in found if isinstance(found, list) else ():
                if str(name) not in present:
                    fix = "name a researcher of accounts_users who is present"
                    yield Fault(variable, str(name), fix, host)
    for host in facility.hosts_of("verify_user"):
        name = facility.values.get(host, {}).get("verify_user")
        if name is not None and str(name) not in present:
            yield Fault("verify_user", str(name), "name a researcher of accounts_users who is present", host)


def operators(facility: Facility) -> Iterator[Fault]:
    """The account that Ansible uses is no researcher's: those have no session on any machine."""
    researchers = {str(user.get("name")) for user in _listed(facility, "accounts_users")}
    for host in facility.hosts:
        user = facility.values.get(host, {}).get("ansible_user")
        if user is not None and str(user) in researchers:
            fix = "use another account: researchers have no session on any machine"
            yield Fault("ansible_user", str(user), fix, host)


def _listed(facility: Facility, variable: str) -> list[Mapping[str, Any]]:
    found = facility.group_value(variable)
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


CHECKS = (ids, names, scratch_buckets, uid_range, somebody, named, operators)
