"""Checks of who says who somebody is: a directory or a provider is named in full, and its groups are known here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

# What each kind cannot do without: a pattern, and what is to be given. The roles judge the rest as they write it down.
NEEDED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "ldap": {
        "jupyterhub_ldap_server": (r"\S+", "name the directory's machine, as its certificate does"),
        "jupyterhub_ldap_user_dn": (
            r".*\{username\}.*",
            "give the distinguished name of a researcher's entry, with {username} in it",
        ),
        "jupyterhub_ldap_group_filter": (r".*\{(userdn|uid)\}.*", "give a filter with {userdn} or {uid} in it"),
    },
    "oidc": {
        "jupyterhub_oidc_issuer": (r"https://[^\s/]+\S*", "give the provider's address, which begins with https://"),
        "jupyterhub_oidc_client_id": (r"\S+", "give the name that the provider knows the facility by"),
    },
}
SECRET = "jupyterhub_oidc_client_secret"  # noqa: S105  (its name)


def providers(facility: Facility) -> Iterator[Fault]:
    """A directory or a provider can be asked."""
    for host in facility.members("jupyterhub"):
        kind = facility.value(host, "jupyterhub_log_in")
        for variable, (pattern, fix) in NEEDED.get(str(kind), {}).items():
            value = str(facility.value(host, variable, ""))
            if not re.fullmatch(pattern, value):
                yield Fault(variable, value or "(empty)", f"{fix}: jupyterhub_log_in is {kind}", host)
        if kind == "oidc" and SECRET not in facility.names.get(host, ()):
            yield Fault(SECRET, "(missing)", "keep what the provider has given you in the vault by this name", host)


def mapped_groups(facility: Facility) -> Iterator[Fault]:
    """A provider's group stands for a group of the facility's."""
    known = facility.group_value("accounts_groups", [])
    names = {group.get("name") for group in known if isinstance(group, Mapping)} if isinstance(known, list) else set()
    for kind in NEEDED:
        variable = f"jupyterhub_{kind}_groups"
        for host in facility.members("jupyterhub"):
            mapping = facility.value(host, variable, {})
            for theirs, ours in mapping.items() if isinstance(mapping, Mapping) else ():
                if ours not in names:
                    fix = "add the group to accounts_groups, with a gid, or correct the name"
                    yield Fault(f"{variable}[{theirs}]", str(ours), fix, host)


CHECKS = (providers, mapped_groups)
