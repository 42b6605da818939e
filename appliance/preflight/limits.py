"""Checks of limits: each is one, and a smaller thing's limit is below that of a larger."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

# A limit of memory as systemd takes it.
_SIZE = re.compile(r"([1-9][0-9]*)([KMGT]?)")
_PERCENT = re.compile(r"([1-9][0-9]?|100)%")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# Figures of which the least is 1, or what is said here: whole ones, and others.
WHOLE: Mapping[str, int] = {
    # The role verify tells of a certificate that has fewer: a run before that has to make the next one.
    "certificates_renewal_days": 30,
    "certificates_days": 31,
    "ceph_s3_users_objects_max": 1,
    "ceph_s3_users_buckets_max": 1,
    "gateway_workers_max": 1,
    "gateway_researcher_clusters_max": 1,
    "gateway_researcher_workers_max": 1,
    "gateway_researcher_cores_max": 2,
    "jupyterhub_tasks_limit": 64,
    "node_base_compute_tasks_max": 1024,
    "node_base_notebooks_tasks_max": 1024,
    "node_base_compute_researcher_tasks_max": 1024,
    "node_base_notebooks_researcher_tasks_max": 64,
}
NUMBERS = ("ceph_s3_users_gib_max", "gateway_researcher_memory_gib_max", "compute_node_temporary_gib_max")
SIZES = ("jupyterhub_memory_limit", "jupyterhub_temporary_limit")
SHARES = (
    "node_base_compute_memory_max",
    "node_base_notebooks_memory_max",
    "node_base_compute_researcher_memory_max",
    "node_base_notebooks_researcher_memory_max",
)
# Own figures of a researcher, as their entry in accounts_users names them.
OWN = ("s3_gib_max", "s3_objects_max", "s3_buckets_max")
# The first is a part of the second, so that one of many never has all.
WITHIN = (
    ("jupyterhub_temporary_limit", "jupyterhub_memory_limit"),
    ("jupyterhub_tasks_limit", "node_base_notebooks_tasks_max"),
    ("node_base_notebooks_researcher_memory_max", "node_base_notebooks_memory_max"),
    ("node_base_compute_researcher_memory_max", "node_base_compute_memory_max"),
    ("node_base_notebooks_researcher_tasks_max", "node_base_notebooks_tasks_max"),
    ("node_base_compute_researcher_tasks_max", "node_base_compute_tasks_max"),
)


def limits(facility: Facility) -> Iterator[Fault]:
    """Each limit is a figure that can be kept."""
    for name in (*WHOLE, *NUMBERS, *SIZES, *SHARES):
        for host in facility.hosts_of(name):
            value = facility.value(host, name)
            fix = _fix(name, value)
            if value is not None and fix:
                yield Fault(name, str(value), fix, host)
    for number, user in enumerate(_users(facility)):
        for part in OWN:
            if part in user and _fix(f"ceph_s3_users_{part[3:]}", user[part]):
                fix = "give a number above 0, or remove it: then the limit of all holds"
                yield Fault(f"accounts_users[{number}].{part}", str(user[part]), fix)


def within(facility: Facility) -> Iterator[Fault]:
    """What is a part of something is less than it: one of many does not have all."""
    for small, large in WITHIN:
        for host in facility.hosts_of(small):
            values = facility.value(host, small), facility.value(host, large)
            if None in values or any(_fix(name, value) for name, value in zip((small, large), values, strict=True)):
                continue
            (part, of), (whole, also_of) = map(_amount, values)
            if of == also_of and part >= whole:
                fix = f"give less than {large} = {values[1]}: otherwise one researcher could take all of it"
                yield Fault(small, str(values[0]), fix, host)


def renewal(facility: Facility) -> Iterator[Fault]:
    """A certificate that was just made is not near its end: else each run made another, and restarted what shows it."""
    names = "certificates_renewal_days", "certificates_days"
    for host in facility.hosts_of(names[0]):
        values = [facility.value(host, name) for name in names]
        if None in values or any(_fix(name, value) for name, value in zip(names, values, strict=True)):
            continue
        if int(str(values[0])) >= int(str(values[1])):
            fix = f"give less than {names[1]} = {values[1]}: otherwise each run makes all certificates anew"
            yield Fault(names[0], str(values[0]), fix, host)


def _users(facility: Facility) -> list[Mapping[str, object]]:
    users = facility.group_value("accounts_users")
    return [user for user in users if isinstance(user, Mapping)] if isinstance(users, list) else []


def _fix(name: str, value: object) -> str:
    """Return what to give instead of a value, or nothing where it is right."""
    text = str(value)
    if name in WHOLE:
        whole = not isinstance(value, bool) and re.fullmatch(r"[0-9]+", text) is not None
        return "" if whole and int(text) >= WHOLE[name] else f"give a whole number of at least {WHOLE[name]}"
    if name in NUMBERS:
        number = not isinstance(value, bool) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is not None
        return "" if number and float(text) > 0 else "give a number of GiB above 0"
    if name in SIZES:
        right = _SIZE.fullmatch(text) is not None and text[-1] in "KMGT"
        return "" if right else "give a whole number and one of K, M, G, T, such as 2G"
    if _SIZE.fullmatch(text) or _PERCENT.fullmatch(text):
        return ""
    return "give percent of the machine's memory, such as 30%, or a size, such as 8G"


def _amount(value: object) -> tuple[float, str]:
    """Return a right value as a number, and of what it is one: percent, or bytes and figures."""
    text = str(value)
    if found := _PERCENT.fullmatch(text):
        return float(found[1]), "percent"
    if found := _SIZE.fullmatch(text):
        return float(int(found[1]) * _UNITS[found[2]]), "number"
    return float(text), "number"


CHECKS = (limits, within, renewal)
