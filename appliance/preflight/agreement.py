"""Checks that machines agree on what they must have in common."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

# Roles that act once for all machines of their group, with the values of the first: another machine's own value would
# have no effect, and nobody would be told. (Of site_facts, one machine reads what another one does.)
ONE_VALUE_ROLES = ("site_facts", "ceph_mon", "ceph_rgw", "ceph_s3_users")
# The same of a role whose other variables are each machine's own.
ONE_VALUE_VARIABLES = ("accounts_groups", "accounts_researchers_gid")
LONGEST_VALUE = 60


def agreement(facility: Facility) -> Iterator[Fault]:
    """What a role takes once for all machines of its group is the same on each of them."""
    catalogue = facility.catalogue
    names = [name for role in ONE_VALUE_ROLES for name in catalogue.options.get(role, {})]
    for name in [*names, *ONE_VALUE_VARIABLES]:
        hosts: dict[str, list[str]] = defaultdict(list)
        for host in facility.hosts_of(name):
            hosts[_shown(facility.value(host, name))].append(host)
        if len(hosts) > 1:
            value = "; ".join(f"{_cut(text)} on {', '.join(members)}" for text, members in hosts.items())
            fix = "give all of these machines the same: set it once, in group_vars/all"
            yield Fault(name, value, fix)


def _shown(value: object) -> str:
    if value is None:
        return "the role's default"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


CHECKS = (agreement,)
