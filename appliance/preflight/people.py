"""Checks of the researchers that the inventory names."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.preflight.facility import Facility, whole_number
from appliance.preflight.fault import Fault

STATES = ("present", "locked", "absent")
ARCHIVE = re.compile(r"/(?!\.\.?(/|$))[\w.-]+(/(?!\.\.?(/|$))[\w.-]+)*")
GROUP_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# Names of the machine's own accounts and groups (Debian's base-passwd, and those of its packages here), and of the
# facility's parts: a researcher with one of them would be one of them.
RESERVED = frozenset(
    [
        "root",
        "daemon",
        "bin",
        "sys",
        "sync",
        "games",
        "man",
        "lp",
        "mail",
        "news",
        "uucp",
        "proxy",
        "www-data",
        "backup",
        "list",
        "irc",
        "gnats",
        "nobody",
        "_apt",
        "nogroup",
        "adm",
        "tty",
        "disk",
        "kmem",
        "dialout",
        "fax",
        "voice",
        "cdrom",
        "floppy",
        "tape",
        "sudo",
        "audio",
        "dip",
        "operator",
        "src",
        "shadow",
        "utmp",
        "video",
        "sasl",
        "plugdev",
        "staff",
        "users",
        "input",
        "render",
        "kvm",
        "sgx",
        "crontab",
        "messagebus",
        "sshd",
        "ssh",
        "_ssh",
        "systemd-journal",
        "systemd-network",
        "systemd-resolve",
        "systemd-timesync",
        "systemd-coredump",
        "polkitd",
        "netdev",
        "docker",
        "wheel",
        "admin",
        "ceph",
        "haproxy",
        "placement",
        "jupyterhub",
        "gateway",
        "appliance",
        "appliance-archive",
        "appliance-catalogue",
        "appliance-placement",
        "appliance-scratch",
        "researchers",
    ]
)


def people(facility: Facility) -> Iterator[Fault]:
    """Names, uids, groups and passwords of the researchers, as ``accounts_users`` and ``accounts_groups`` list them."""
    groups = facility.group_value("accounts_groups", [])
    uids = _uids(facility)
    pattern = str(facility.group_value("accounts_name_pattern"))
    try:
        # The site's may be stricter than the role's own, and not wider.
        widest = re.compile(str(facility.catalogue.defaults["accounts_name_pattern"]))
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # what a later Python reads otherwise
            patterns = [re.compile(pattern), widest]
    except (re.error, FutureWarning) as error:
        yield Fault("accounts_name_pattern", pattern, f"give a regular expression ({error})")
        return
    yield from _groups(groups, uids)
    users = facility.group_value("accounts_users")
    if users is None:
        return
    if not isinstance(users, list) or not all(isinstance(user, Mapping) for user in users):
        yield Fault("accounts_users", str(users), "list researchers as {name: alice, uid: 2001, groups: [climate]}")
        return
    by_name: dict[str, int] = defaultdict(int)
    by_uid: dict[str, list[str]] = defaultdict(list)
    present = {str(user.get("name")) for user in users if user.get("state", "present") == "present"}
    for number, user in enumerate(users):
        yield from _state(f"accounts_users[{number}]", user, present)
        yield from _one(f"accounts_users[{number}]", user, _names(groups), uids, patterns)
        by_name[str(user.get("name"))] += 1
        by_uid[str(user.get("uid"))].append(str(user.get("name")))
        name = user.get("name")
        away = user.get("state", "present") != "present"
        if isinstance(name, str) and name not in facility.password_names and not away:
            yield Fault(
                f"accounts_passwords.{name}",
                "(missing)",
                "make it: appliance secrets INVENTORY_DIR adds what is missing",
            )
    for name, count in by_name.items():
        if count > 1:
            yield Fault("accounts_users.name", f"{name}, {count} times", "name each researcher once")
    for uid, names in by_uid.items():
        if len(names) > 1 and uid != "None":
            yield Fault(
                "accounts_users.uid", f"{uid} for {', '.join(names)}", "give each researcher a uid of their own"
            )


def _names(groups: object) -> set[str]:
    return (
        {str(group.get("name")) for group in groups if isinstance(group, Mapping)}
        if isinstance(groups, list)
        else set()
    )


def _uids(facility: Facility) -> range:
    """The numbers that researchers and their groups may have, as the site's facts limit them."""
    names = ("accounts_uid_min", "accounts_uid_max")
    # What is no number is reported as such; the roles' own limits are good enough to judge the rest.
    least, most = (whole_number(facility.group_value(name), facility.catalogue.defaults[name]) for name in names)
    return range(least, most + 1)


def _groups(groups: object, uids: range) -> Iterator[Fault]:
    if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
        yield Fault("accounts_groups", str(groups), "list groups as {name: climate, gid: 3001}")
        return
    for number, group in enumerate(groups):
        name, gid = group.get("name"), group.get("gid")
        if not isinstance(name, str) or not GROUP_NAME.fullmatch(name) or name in RESERVED:
            fix = "give a valid Unix group name that the machines do not have for themselves"
            yield Fault(f"accounts_groups[{number}].name", str(name), fix)
        if isinstance(gid, bool) or not isinstance(gid, int) or gid not in uids:
            fix = f"choose a number from {uids.start} to {uids.stop - 1}"
            yield Fault(f"accounts_groups[{number}].gid", str(gid), fix)
    for part in ("name", "gid"):
        values = [str(group.get(part)) for group in groups]
        for value in dict.fromkeys(value for value in values if values.count(value) > 1):
            yield Fault(f"accounts_groups.{part}", f"{value}, {values.count(value)} times", "give each group its own")


def _state(where: str, user: Mapping[str, Any], present: set[str]) -> Iterator[Fault]:
    """What an entry says of whether the researcher is there, and of where the data of one who is not goes."""
    state, name = user.get("state", "present"), user.get("name")
    if state not in STATES:
        yield Fault(f"{where}.state", str(state), f"choose one of {', '.join(STATES)}")
        return
    heir, archive = user.get("hand_over_to"), user.get("archive")
    if state != "absent":
        for part in ("hand_over_to", "archive"):
            if user.get(part) is not None:
                fix = f"remove it, or give {name} `state: absent`: data is handed over of those who are absent"
                yield Fault(f"{where}.{part}", str(user[part]), fix)
        return
    if (heir is None) == (archive is None):
        fix = "say where home and buckets go: either `hand_over_to: NAME` or `archive: /DIRECTORY`; nothing is deleted"
        yield Fault(f"{where}.state", f"absent ({name}), with {'both' if heir else 'neither'}", fix)
    elif heir is not None and (str(heir) not in present or heir == name):
        fix = "name a researcher of accounts_users who is present"
        yield Fault(f"{where}.hand_over_to", str(heir), fix)
    elif archive is not None and not (isinstance(archive, str) and ARCHIVE.fullmatch(archive)):
        yield Fault(f"{where}.archive", str(archive), "give a directory on the machines, as a path from the root")


def _one(
    where: str, user: Mapping[str, Any], known: set[str], uids: range, patterns: list[re.Pattern[str]]
) -> Iterator[Fault]:
    name, uid = user.get("name"), user.get("uid")
    missed = next((one for one in patterns if not isinstance(name, str) or not one.fullmatch(name)), None)
    if missed:
        fix = f"choose one that matches {missed.pattern}: it names account, bucket and units alike"
        yield Fault(f"{where}.name", str(name), fix)
    elif name in RESERVED:
        yield Fault(f"{where}.name", name, "the machines have an account of that name for themselves: choose another")
    if isinstance(uid, bool) or not isinstance(uid, int) or uid not in uids:
        yield Fault(f"{where}.uid", str(uid), f"choose a number from {uids.start} to {uids.stop - 1}")
    groups = user.get("groups", [])
    if not isinstance(groups, list):
        yield Fault(f"{where}.groups", str(groups), "give a list of group names")
        return
    for group in groups:
        if str(group) not in known:
            fix = "add the group to accounts_groups, with a gid, or correct the name"
            yield Fault(f"{where}.groups", str(group), fix)
