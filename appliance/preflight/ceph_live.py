"""Checks of what the cluster that runs says, and of what machines reach: packages, time servers, sources."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault
from appliance.preflight.live import answering

# Numbers as Ceph reads them: counts and sizes with a unit, durations with one of time (`ceph config help`, "type").
_COUNT = re.compile(r"-?[0-9]+([KMGTPE]i?)?B?", re.IGNORECASE)
_DURATION = re.compile(r"[0-9.]+\s*[a-z]*(\s*[0-9.]+\s*[a-z]+)*")
_BOOL = {"true", "false", "yes", "no", "on", "off", "1", "0"}
SETTINGS = ("ceph_mon_settings", "ceph_common_conf", "ceph_rgw_settings")


def cluster(facility: Facility) -> Iterator[Fault]:
    """The cluster that a machine belongs to is the inventory's."""
    for host, facts in answering(facility).items():
        wanted = str(facility.value(host, "ceph_fsid", ""))
        said = facts.get("ceph") or {}
        told = (("/etc/ceph/ceph.conf there names", said.get("conf_fsid")), ("the monitors say", said.get("fsid")))
        found = next(((what, fsid) for what, fsid in told if wanted and fsid and fsid != wanted), None)
        if found:
            fix = (
                f"{found[0]} the cluster {found[1]}: use that cluster's inventory and secrets, or correct the "
                "machine's ansible_host"
            )
            yield Fault("ceph_fsid", wanted, fix, host)


def settings(facility: Facility) -> Iterator[Fault]:
    """Each setting is one of the installed release, with a value that it takes."""
    live = answering(facility)
    known: Mapping[str, Any] = next((facts["ceph"]["settings"] for facts in live.values() if _asked(facts)), {})
    for variable in SETTINGS if known else ():
        found = facility.group_value(variable)
        sections = {"": found} if variable == "ceph_rgw_settings" else found
        for section, options in sections.items() if isinstance(sections, Mapping) else ():
            for option, value in options.items() if isinstance(options, Mapping) else ():
                help_ = known.get(re.sub("[ -]", "_", str(option)))
                if help_ is not None and (fix := _setting(str(value), help_)):
                    name = ".".join(part for part in (variable, str(section), str(option)) if part)
                    yield Fault(name, str(value), fix)


def _asked(facts: Mapping[str, Any]) -> bool:
    return bool((facts.get("ceph") or {}).get("settings"))


def _setting(value: str, help_: Mapping[str, Any]) -> str:
    """Return what to do about a setting with this value, by its ``ceph config help``; nothing if it is right."""
    if "near" in help_:
        meant = f"write {help_['near'][0]}" if help_["near"] else "see `ceph config ls` for what there is"
        return f"the installed Ceph has no such option: {meant}, or remove it"
    kind, choices = str(help_.get("type", "")), [str(one) for one in help_.get("enum_values", ()) if str(one)]
    if choices and value not in choices:
        return f"choose one of {', '.join(choices)}"
    if kind in ("int", "uint", "size", "secs", "millisecs", "float", "bool") and not _reads(value, kind):
        return f"give a value that Ceph takes as {kind}, such as its default {help_.get('default', '')}"
    least, most = (_number(help_.get(limit, "")) for limit in ("min", "max"))
    number = _number(value)
    if number is not None and ((least is not None and number < least) or (most is not None and number > most)):
        return f"give a value from {help_.get('min') or 'any'} to {help_.get('max') or 'any'}"
    return ""


def _reads(value: str, kind: str) -> bool:
    if kind == "bool":
        return value.lower() in _BOOL
    if kind == "float":
        return _number(value) is not None
    if kind in ("secs", "millisecs"):
        return _DURATION.fullmatch(value) is not None
    return _COUNT.fullmatch(value) is not None and not (kind in ("uint", "size") and value.startswith("-"))


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def sources(facility: Facility) -> Iterator[Fault]:
    """Each address that the machine installs from answers it."""
    for host, facts in answering(facility).items():
        for answer in facts.get("urls") or ():
            if answer["error"]:
                fix = f"start the depot on the control host (appliance depot up), or correct {answer['variable']}"
                yield Fault(answer["variable"], f"{answer['url']}: {answer['error']}", fix, host)


def time_servers(facility: Facility) -> Iterator[Fault]:
    """One of the time servers that the site names answers: one that is away for a while stops no run."""
    for host, facts in answering(facility).items():
        errors = facts.get("time_servers") or {}
        for server, error in errors.items():
            if all(errors.values()):
                fix = "correct the name, or let the machine reach the server's UDP port 123"
                yield Fault("node_base_time_servers", f"{server}: {error}", fix, host)


def packages(facility: Facility) -> Iterator[Fault]:
    """A package that the site wants is in the machine's lists, once these are the site's."""
    for host, facts in answering(facility).items():
        for name in facts.get("packages_missing") or ():
            fix = "correct the name, or remove it: none of the machine's sources has it"
            yield Fault("node_base_packages", str(name), fix, host)


CHECKS = (cluster, settings, sources, time_servers, packages)
