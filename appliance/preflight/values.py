"""Checks of values: each has the type of its role's specs, and is what the role's ``meta/values.yml`` says."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault
from appliance.preflight.forms import FORMS, amount
from appliance.preflight.role_catalogue import CONNECTION, Option
from appliance.preflight.rules import Rule

LONGEST_VALUE = 120
_REMOVE = "give a value, or remove the line: then the role's default holds"


def options(facility: Facility) -> Iterator[tuple[list[str], Option]]:
    """Yield each public or secret option of the site's roles with the machines that have it, once."""
    seen: dict[str, Option] = {}
    for play in facility.catalogue.plays:
        for role in sorted(facility.catalogue.with_dependencies(play.role)):
            for name, option in facility.catalogue.options.get(role, {}).items():
                seen.setdefault(name, option)
    for name, option in seen.items():
        yield facility.hosts_of(name), option


def values(facility: Facility) -> Iterator[Fault]:
    """A value that the inventory gives is of the right type and form, and within its limits."""
    for hosts, option in options(facility):
        rule = facility.catalogue.rules.get(option.name, Rule())
        for host in hosts:
            given = facility.values.get(host, {})
            if option.name in given:
                yield from _value(given[option.name], option, rule, host)
    yield from _undocumented(facility)


def _undocumented(facility: Facility) -> Iterator[Fault]:
    """What no role documents, and one makes a variable of its own of."""
    documented = {option.name for _, option in options(facility)}
    for name, rule in facility.catalogue.rules.items():
        for host in facility.hosts_of(name) if name not in documented else ():
            value = facility.values.get(host, {}).get(name, "")
            if name in facility.values.get(host, {}) and (fix := rule.fault(value)):
                yield Fault(name, str(value), fix, host)


def interpreter(facility: Facility) -> Iterator[Fault]:
    """Modules run by the Python that they are written for, also once Ceph has brought another one."""
    for host in facility.hosts:
        value = str(facility.value(host, CONNECTION[1], "/usr/bin/python3.13"))
        if not FORMS["interpreter"].fits(value):
            yield Fault(CONNECTION[1], value, FORMS["interpreter"].give, host)


def secrets(facility: Facility) -> Iterator[Fault]:
    """A secret has the form that its reader takes, where it is read. Nobody sees more of it than whether it has."""
    for name in facility.catalogue.secret_patterns:
        rule = facility.catalogue.rules[name]
        for host in facility.hosts_of(name):
            read = all(str(facility.value(host, other)) == value for other, value in rule.where.items())
            if read and not facility.fits.get(host, {}).get(name, True):
                yield Fault(name, "(not shown)", f"give {rule.give}", host)


def unreadable(facility: Facility) -> Iterator[Fault]:
    """Each value can be made of its expression, and from the vault, where a role reads it."""
    for host, found in facility.errors.items():
        for name, error in found.items():
            if host not in facility.hosts_of(name) and name not in CONNECTION:
                continue
            yield Fault(name, "(cannot be read)", f"correct its expression: {error}", host)


def relations(facility: Facility) -> Iterator[Fault]:
    """What is a part of something is less than it: one of many does not have all."""
    for small, rule in facility.catalogue.rules.items():
        large = rule.less_than or rule.at_most
        for host in facility.hosts_of(small) if large else ():
            values_ = facility.value(host, small), facility.value(host, large)
            if any(_wrong(facility, name, value) for name, value in zip((small, large), values_, strict=True)):
                continue
            (part, of), (whole, also_of) = (amount(str(value)) for value in values_)
            if of != also_of or part < whole or (rule.at_most and part == whole):
                continue
            word = "less than" if rule.less_than else "at most"
            fix = f"give {word} {large} = {values_[1]}" + (f": otherwise {rule.otherwise}" if rule.otherwise else "")
            yield Fault(small, str(values_[0]), fix, host)


def members(facility: Facility) -> Iterator[Fault]:
    """A value that has to be one of another variable's list is in it."""
    for name, rule in facility.catalogue.rules.items():
        for host in facility.hosts_of(name) if rule.one_of else ():
            value, known = facility.value(host, name), facility.value(host, rule.one_of)
            if value is not None and isinstance(known, list) and value not in known and not rule.fault(value):
                yield Fault(name, str(value), f"give one of {rule.one_of}, or add it there, where it exists", host)


def entries(facility: Facility) -> Iterator[Fault]:
    """An entry of a list has the keys that the role reads: another would have no effect."""
    for hosts, option in options(facility):
        for host in hosts if option.options else ():
            found = facility.value(host, option.name)
            for number, entry in enumerate(found if isinstance(found, list) else ()):
                if isinstance(entry, Mapping):
                    yield from _entry(facility, f"{option.name}[{number}]", entry, option)


def _entry(facility: Facility, where: str, entry: Mapping[str, object], option: Option) -> Iterator[Fault]:
    for key, value in entry.items():
        part = option.options.get(str(key))
        if part is None:
            near = difflib.get_close_matches(str(key), list(option.options), n=1, cutoff=0.6)
            meant = f"write {near[0]}" if near else f"there are {', '.join(option.options)}"
            yield Fault(f"{where}.{key}", str(value), f"no role reads this key: {meant}, or remove it")
        elif rule := facility.catalogue.rules.get(f"{option.name}.{key}"):
            wrong = rule.fault(value, part.type) if fits(value, part.type) else rule.fault("", part.type)
            if wrong:
                yield Fault(f"{where}.{key}", str(value), f"{wrong}; without it the limit of all holds")


def _value(value: object, option: Option, rule: Rule, host: str) -> Iterator[Fault]:
    name = option.name
    if value is None:
        yield Fault(name, "(empty)", _REMOVE, host)
    elif option.choices:
        if value not in option.choices:
            yield Fault(name, str(value), f"choose one of {', '.join(map(str, option.choices))}", host)
    elif not fits(value, option.type):
        told = rule.fault("", option.type) if option.type not in ("list", "dict") else ""
        fix = told or f"give a value of type {option.type}"
        shown = value if option.type in ("int", "float") else repr(value)  # a text is no list, though it looks like one
        yield Fault(name, _shown(shown), fix, host)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            wrong = rule.fault(item) if rule.elements else ""
            if not fits(item, option.elements or "raw"):
                wrong = f"give a value of type {option.elements}"
            if wrong:
                yield Fault(f"{name}[{number}]", str(item), wrong, host)
    elif fix := rule.fault(value, option.type):
        yield Fault(name, _shown(value), fix, host)


def _shown(value: object) -> str:
    """Return a value as the table shows it: not all of a long one, and nothing of a key that is in the wrong place."""
    text = str(value)
    if "PRIVATE KEY" in text:
        return "(not shown)"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _wrong(facility: Facility, name: str, value: object) -> bool:
    """Tell whether there is no value to compare, or one that is reported by itself."""
    if value is None or isinstance(value, (bool, list, dict)):
        return True
    try:
        amount(str(value))
    except ValueError:
        return True
    return bool(facility.catalogue.rules.get(name, Rule()).fault(value))


def fits(value: object, kind: str) -> bool:
    """Tell whether Ansible would take ``value`` as an option of type ``kind``, and a number is one that can be kept."""
    if kind in {"int", "float"}:
        try:
            number = float("none" if isinstance(value, bool) else str(value))
        except ValueError:
            return False
        return math.isfinite(number) and (kind == "float" or number.is_integer())
    if kind == "bool":
        return str(value).lower() in {"true", "false", "yes", "no", "on", "off", "1", "0", "y", "n", "t", "f"}
    if kind == "dict":
        return isinstance(value, dict)
    if kind == "list":
        return isinstance(value, list)
    return kind == "raw" or not (value is None or isinstance(value, (dict, list)))


CHECKS = (values, interpreter, secrets, unreadable, relations, members, entries)
