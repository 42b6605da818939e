"""Checks of who says who somebody is: a directory or a provider is named in full, and its groups are known here."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping

from appliance.checked_json import is_template
from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault

# What each kind cannot do without: a pattern, and what is to be given. The roles judge the rest as they write it down.
NEEDED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "ldap": {
        "jupyterhub_ldap_server": (r"\S+", "name the directory's machine, as its certificate does"),
    },
    "oidc": {
        "jupyterhub_oidc_issuer": (r"https://[^\s/]+\S*", "give the provider's address, which begins with https://"),
        "jupyterhub_oidc_client_id": (r"\S+", "give the name that the provider knows the facility by"),
    },
}
# Texts that are filled in at each log-in: with what, and what is to be given.
TEMPLATES: Mapping[str, tuple[frozenset[str], str]] = {
    "jupyterhub_ldap_user_dn": (
        frozenset({"username"}),
        "give the distinguished name of a researcher's entry, with {username} in it and nothing else in braces",
    ),
    "jupyterhub_ldap_group_filter": (
        frozenset({"userdn", "uid"}),
        "give a filter with {userdn} or {uid} in it, and nothing else in braces",
    ),
}
AUTHORITIES = "jupyterhub_provider_authorities"
_SHOWN_CHARACTERS = 60
SECRET = "jupyterhub_oidc_client_secret"  # noqa: S105  (its name)


def providers(facility: Facility) -> Iterator[Fault]:
    """A directory or a provider can be asked."""
    for host in facility.members("jupyterhub"):
        kind = str(facility.value(host, "jupyterhub_log_in"))
        for variable, (pattern, fix) in NEEDED.get(kind, {}).items():
            value = str(facility.value(host, variable, ""))
            if not re.fullmatch(pattern, value):
                yield Fault(variable, value or "(empty)", f"{fix}: jupyterhub_log_in is {kind}", host)
        for variable, (names, fix) in TEMPLATES.items() if kind == "ldap" else ():
            value = str(facility.value(host, variable, ""))
            if not is_template(value, names):
                yield Fault(variable, value or "(empty)", f"{fix}: jupyterhub_log_in is {kind}", host)
        authorities = str(facility.value(host, AUTHORITIES, ""))
        if kind in NEEDED and authorities.strip() and not _has_certificates(authorities):
            fix = "give the text of certificates (PEM), not the name of a file: \"{{ lookup('file', NAME) }}\""
            yield Fault(AUTHORITIES, authorities[:_SHOWN_CHARACTERS], fix, host)
        if kind == "oidc" and SECRET not in facility.names.get(host, ()):
            yield Fault(SECRET, "(missing)", "keep what the provider has given you in the vault by this name", host)


def _has_certificates(text: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text.strip())
    except (ssl.SSLError, ValueError):
        return False
    return True


def mapped_groups(facility: Facility) -> Iterator[Fault]:
    """A provider's group stands for a group of the facility's."""
    known = facility.group_value("accounts_groups", [])
    names = (
        {str(group.get("name")) for group in known if isinstance(group, Mapping)} if isinstance(known, list) else set()
    )
    for kind in NEEDED:
        variable = f"jupyterhub_{kind}_groups"
        for host in facility.members("jupyterhub"):
            mapping = facility.value(host, variable, {})
            for theirs, ours in mapping.items() if isinstance(mapping, Mapping) else ():
                if str(ours) not in names:
                    fix = "add the group to accounts_groups, with a gid, or correct the name"
                    yield Fault(f"{variable}[{theirs}]", str(ours), fix, host)


CHECKS = (providers, mapped_groups)
