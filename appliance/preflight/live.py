"""Checks of what the machines said about themselves (`plugins/modules/preflight_facts.py`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.preflight.facility import Facility, whole_number
from appliance.preflight.fault import Fault
from appliance.preflight.ports import span

Facts = Mapping[str, Any]
MIB = 2**20
# One login, one script copied and started lie between the control host's look at its clock and the machine's.
CLOCK_TOLERANCE_SECONDS = 20.0
NO_INTERPRETER = 127


def answering(facility: Facility) -> dict[str, Facts]:
    """Return the facts of the machines that gave some."""
    return {host: facts for host, facts in facility.live.items() if "failed" not in facts}


def reachable(facility: Facility) -> Iterator[Fault]:
    """Each machine lets the operator in and has the interpreter that the roles use."""
    for host, facts in facility.live.items():
        reason = str(facts.get("failed", ""))
        if not reason:
            continue
        if facts.get("rc") == NO_INTERPRETER:
            yield Fault(
                "ansible_python_interpreter",
                f"{facility.value(host, 'ansible_python_interpreter', '/usr/bin/python3.13')} is not on the machine",
                "install Debian 13 (trixie) with python3 on the machine",
                host,
            )
        else:
            address = facility.value(host, "ansible_host", host)
            fix = "start the machine, or correct its ansible_host, ansible_user and key"
            yield Fault("ansible_host", f"{address}: {reason.strip().splitlines()[-1][:200]}", fix, host)


def system(facility: Facility) -> Iterator[Fault]:
    """Debian 13 on a 64-bit Intel or AMD machine, with systemd running it and room to work."""
    for host, facts in answering(facility).items():
        least = whole_number(facility.value(host, "preflight_min_memory_mib", 0), 0)
        room = whole_number(facility.value(host, "preflight_min_free_mib", 0), 0)
        release = f"{facts.get('os_id')} {facts.get('os_version')}"
        if release != "debian 13":
            yield Fault("operating system", release, "install Debian 13 (trixie)", host)
        if facts.get("machine") != "x86_64":
            yield Fault("processor", str(facts.get("machine")), "use x86_64: the environments are built for it", host)
        if not facts.get("systemd"):
            yield Fault("init", "not systemd", "boot the machine with systemd: all services are units", host)
        memory = facts.get("memory_bytes", 0) / MIB
        if memory < least:
            fix = f"give the machine {least} MiB, or lower preflight_min_memory_mib"
            yield Fault("memory", f"{memory:.0f} MiB", fix, host)
        free = facts.get("free_bytes", 0) / MIB
        if free < room:
            fix = f"free {room} MiB on the machine's own disk, or lower preflight_min_free_mib"
            yield Fault("disk space of /", f"{free:.0f} MiB free", fix, host)


def identities(facility: Facility) -> Iterator[Fault]:
    """No two machines were copied from one another with their identity."""
    owners: dict[str, list[str]] = defaultdict(list)
    for host, facts in answering(facility).items():
        owners[str(facts.get("machine_id", ""))].append(host)
    for machine_id, hosts in owners.items():
        if machine_id and len(hosts) > 1:
            fix = (
                "empty /etc/machine-id on copies and boot them, or correct ansible_host where two names are one machine"
            )
            yield Fault("machine-id", f"{machine_id} on {', '.join(sorted(hosts))}", fix)


def clocks(facility: Facility) -> Iterator[Fault]:
    """Clocks agree well enough for keys and certificates; the roles set up time keeping for the rest."""
    for host, facts in answering(facility).items():
        offset = float(facts.get("clock_offset_seconds", 0.0))
        if abs(offset) > CLOCK_TOLERANCE_SECONDS:
            direction = "ahead of" if offset > 0 else "behind"
            fix = "set the machine's clock (timedatectl), or the control host's if it is the one that is wrong"
            yield Fault("clock", f"{abs(offset):.0f} s {direction} the control host", fix, host)


def addresses(facility: Facility) -> Iterator[Fault]:
    """The storage address is on one of the machine's cards."""
    for host, facts in answering(facility).items():
        for address, present in facts.get("addresses", {}).items():
            if not present:
                yield Fault("machine_address", address, "no card of the machine has this address: correct either", host)


def accounts(facility: Facility) -> Iterator[Fault]:
    """Neither a researcher's name nor their uid belongs to somebody else on a machine."""
    for host, facts in answering(facility).items():
        for user in facts.get("users", []):
            name, uid = user["name"], user["uid"]
            if user["uid_of_name"] not in (None, uid):
                yield Fault(
                    "accounts_users.name",
                    f"{name} (uid {uid})",
                    f"the machine has {name} with uid {user['uid_of_name']}: rename one, or give them that uid",
                    host,
                )
            if user["name_of_uid"] not in (None, name):
                yield Fault(
                    "accounts_users.uid",
                    f"{uid} ({name})",
                    f"the uid is taken by {user['name_of_uid']} on the machine: choose another",
                    host,
                )


def account_groups(facility: Facility) -> Iterator[Fault]:
    """Neither a shared group's name nor its gid belongs to another group on a machine."""
    for host, facts in answering(facility).items():
        for group in facts.get("groups", []):
            name, gid = group["name"], group["gid"]
            if group["gid_of_name"] not in (None, gid):
                fix = f"the machine has {name} with gid {group['gid_of_name']}: rename one, or give it that gid"
                yield Fault("accounts_groups.name", f"{name} (gid {gid})", fix, host)
            if group["name_of_gid"] not in (None, name):
                fix = f"the gid is taken by {group['name_of_gid']} on the machine: choose another"
                yield Fault("accounts_groups.gid", f"{gid} ({name})", fix, host)


def disks(facility: Facility) -> Iterator[Fault]:
    """Each machine judged its own disks, by the code that the role ceph_osd uses; here its reasons are passed on."""
    for host, facts in answering(facility).items():
        for device, disk in facts.get("disks", {}).items():
            # What a name should look like is a matter of the inventory: `static.devices` says it of all machines.
            if disk["reason"] and disk["state"] != "unstable":
                yield Fault("ceph_osd_devices", f"{device}: {disk['reason']}", disk["fix"], host)


def ports(facility: Facility) -> Iterator[Fault]:
    """The ports of the facility are free, or its own units listen there."""
    live = answering(facility)
    for listener in facility.catalogue.listeners:
        # Where researchers' processes listen, what is taken is passed over as they start.
        for host in facility.members(listener.group) if listener.units and not listener.unprivileged else ():
            held = live.get(host, {}).get("ports", {})
            wanted = span(facility, host, listener)
            taken = [(port, holder) for port, holders in held.items() if int(port) in wanted for holder in holders]
            for port, holder in taken:
                if not holder.startswith(listener.units):
                    fix = f"stop {holder} on the machine, or choose another port for {listener.what}"
                    yield Fault(listener.name, f"{port}, taken by {holder}", fix, host)


CHECKS = (reachable, system, identities, clocks, addresses, accounts, account_groups, disks, ports)
