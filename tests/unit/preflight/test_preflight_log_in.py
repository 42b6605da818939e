"""What the hub is told of a directory or a provider is complete, and groups from there are somebody's here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.inventory_secrets import authority
from appliance.preflight import Fault

Request = dict[str, Any]
Judged = Callable[[Request], list[Fault]]
LDAP: dict[str, object] = {
    "jupyterhub_log_in": "ldap",
    "jupyterhub_ldap_server": "directory.example.org",
    "jupyterhub_ldap_user_dn": "uid={username},ou=people,dc=example,dc=org",
    "jupyterhub_ldap_groups": {"cn=ocean,dc=example,dc=org": "climate"},
}
OIDC: dict[str, object] = {
    "jupyterhub_log_in": "oidc",
    "jupyterhub_oidc_issuer": "https://login.example.org",
    "jupyterhub_oidc_client_id": "facility",
    "jupyterhub_oidc_groups": {"ocean": "climate"},
}


def told(request: Request, judged: Judged, variables: dict[str, object], secret: bool = True) -> list[tuple[str, str]]:
    request["hostvars"]["head1"].update(variables)
    request.setdefault("names", {host: list(values) for host, values in request["hostvars"].items()})
    request["names"]["head1"] = [*request["names"]["head1"], *(["jupyterhub_oidc_client_secret"] if secret else [])]
    for values in request["hostvars"].values():
        values["accounts_groups"] = [{"name": "climate", "gid": 3001}]
    return [(fault.variable, fault.value) for fault in judged(request)]


@pytest.mark.parametrize("given", [{}, LDAP, OIDC])
def test_what_is_complete_is_sound(request_: Request, judged: Judged, given: dict[str, object]) -> None:
    assert told(request_, judged, given) == []


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (LDAP, "jupyterhub_ldap_server", ""),
        (LDAP, "jupyterhub_ldap_user_dn", "uid=alice"),
        (LDAP, "jupyterhub_ldap_user_dn", "uid={username},ou={ou},dc=example,dc=org"),
        (LDAP, "jupyterhub_ldap_user_dn", "uid={username},ou={}"),
        (LDAP, "jupyterhub_ldap_user_dn", "uid={username},ou={"),
        (LDAP, "jupyterhub_ldap_user_dn", "uid={username.x}"),
        (LDAP, "jupyterhub_ldap_user_dn", "uid={username:{x}}"),
        (LDAP, "jupyterhub_ldap_group_filter", "(objectClass=*)"),
        (LDAP, "jupyterhub_ldap_group_filter", "(member={userdn})(ou={ou})"),
        (LDAP, "jupyterhub_provider_authorities", "/etc/ssl/site.pem"),
        (OIDC, "jupyterhub_provider_authorities", "-----BEGIN CERTIFICATE-----"),
        (OIDC, "jupyterhub_oidc_issuer", "http://login.example.org"),
        (OIDC, "jupyterhub_oidc_issuer", ""),
        (OIDC, "jupyterhub_oidc_client_id", ""),
    ],
)
def test_what_cannot_be_asked_is_a_fault(
    request_: Request, judged: Judged, given: dict[str, object], name: str, value: str
) -> None:
    assert told(request_, judged, given | {name: value}) == [(name, value or "(empty)")]


def test_a_provider_wants_a_secret(request_: Request, judged: Judged) -> None:
    assert told(request_, judged, OIDC, secret=False) == [("jupyterhub_oidc_client_secret", "(missing)")]


def test_a_secret_that_cannot_be_used_is_a_fault_and_is_not_shown(request_: Request, judged: Judged) -> None:
    request_["fits"] = {"head1": {"jupyterhub_oidc_client_secret": False}}
    assert told(request_, judged, OIDC) == [("jupyterhub_oidc_client_secret", "(not shown)")]


def test_a_secret_that_nobody_reads_may_be_anything(request_: Request, judged: Judged) -> None:
    request_["fits"] = {
        "head1": {"jupyterhub_oidc_client_secret": False},
        "store1": {"jupyterhub_cookie_secret": False},
    }
    assert told(request_, judged, LDAP) == []


def test_certificates_of_an_authority_are_sound(request_: Request, judged: Judged) -> None:
    _, certificate = authority()
    assert told(request_, judged, LDAP | {"jupyterhub_provider_authorities": f"{certificate}\n"}) == []


@pytest.mark.parametrize(("given", "variable"), [(LDAP, "jupyterhub_ldap_groups"), (OIDC, "jupyterhub_oidc_groups")])
def test_a_group_that_is_nobodys_is_a_fault(
    request_: Request, judged: Judged, given: dict[str, object], variable: str
) -> None:
    assert told(request_, judged, given | {variable: {"ocean": "cilmate"}}) == [(f"{variable}[ocean]", "cilmate")]
