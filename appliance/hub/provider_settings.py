"""What a site says about the provider that checks who logs in: a directory (LDAP) or an OpenID Connect provider."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from appliance.checked_json import (
    Check,
    FaultyError,
    Port,
    Text,
    is_template,
    is_text,
    list_of,
    matching,
    parse,
    read_object,
)
from appliance.hub.provider_answers import HTTPS
from appliance.hub.settings import GROUP_NAME


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(is_text(key) and GROUP_NAME.accepts(group) for key, group in value.items())


def _template(advice: str, *names: str) -> Check:
    return Check(lambda value: is_template(value, frozenset(names)), advice)


Groups = Annotated[
    Mapping[str, str], Check(_is_mapping, "give groups of the facility by the names that the provider has for them")
]
Https = Annotated[str, matching(HTTPS, "give an address that begins with https://")]
# Without one, the authorities of the machine count.
Authority = Annotated[str, Check(lambda value: value == "" or str(value).startswith("/"), "give a path from the root")]


@dataclass(frozen=True, kw_only=True)
class LdapSettings:
    """A directory that checks passwords.

    Attributes:
        server: its name, which its certificate has.
        port: where it listens.
        tls: ``on_connect`` (LDAPS) or ``before_bind`` (StartTLS). In clear there is nothing.
        user_dn: the distinguished name of a researcher's entry, with ``{username}`` in it.
        group_filter: what finds a researcher in a group's entry, with ``{userdn}`` or ``{uid}`` in it.
        groups: groups of the facility by the distinguished names of the directory's.
        authority: a file of certificates that the server's may go back to; empty for those of the machine.
    """

    server: Text
    port: Port
    tls: Annotated[str, matching("on_connect|before_bind", "choose on_connect (LDAPS) or before_bind (StartTLS)")]
    user_dn: Annotated[
        str, _template("give a distinguished name with {username} in it, and nothing else in braces", "username")
    ]
    group_filter: Annotated[
        str, _template("give a filter with {userdn} or {uid} in it, and nothing else in braces", "userdn", "uid")
    ]
    groups: Groups
    authority: Authority


@dataclass(frozen=True, kw_only=True)
class OidcSettings:
    """An OpenID Connect provider.

    Attributes:
        name: what the log-in page calls it.
        issuer: its address, below which ``.well-known/openid-configuration`` is.
        client_id: what it calls the facility.
        username_claim: the claim that is the researcher's name here. Nobody may be able to choose it for themselves.
        groups_claim: the claim that lists the researcher's groups.
        scopes: what the facility asks for.
        groups: groups of the facility by the provider's names.
        authority: as `LdapSettings.authority`.
    """

    name: Text
    issuer: Https
    client_id: Text
    username_claim: Text
    groups_claim: Text
    scopes: Annotated[tuple[str, ...], list_of(Check(is_text, ""), "list one or more scopes, such as openid, profile")]
    groups: Groups
    authority: Authority


KINDS: Mapping[str, type[LdapSettings | OidcSettings]] = {"ldap": LdapSettings, "oidc": OidcSettings}


def from_file(kind: str, path: Path) -> LdapSettings | OidcSettings:
    """Read the settings of one kind of provider; raises `FaultyError` where they have a fault."""
    return read_object(KINDS[kind], parse(path.read_bytes()))


def check_authorities(path: Path) -> None:
    """Raise `FaultyError` where a file holds anything but white space and certificates (PEM)."""
    text = path.read_text(encoding="utf-8").strip()
    try:
        if text:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise FaultyError(["jupyterhub_provider_authorities: this is no certificate; give their text (PEM)"]) from None


def main() -> int:
    """Check a file before a hub starts with it: ``KIND FILE``; the kind ``authorities`` is certificates, or none."""
    kind, path = sys.argv[1], Path(sys.argv[2])
    try:
        if kind == "authorities":
            check_authorities(path)
        else:
            from_file(kind, path)
    except FaultyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
