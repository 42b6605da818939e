"""What a provider answers is used only where it is of the right issuer and over TLS."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.hub.provider_answers import Addresses, UnfitProviderError, addresses, mapped

ISSUER = "https://login.example.org/realm"
TOLD: dict[str, Any] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/me",
}


def test_addresses_are_those_that_the_provider_names() -> None:
    assert addresses(ISSUER, TOLD) == Addresses(f"{ISSUER}/authorize", f"{ISSUER}/token", f"{ISSUER}/me")


@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://other.example.org", None, 7])
def test_an_answer_of_another_issuer_is_refused_and_both_are_named(issuer: object) -> None:
    with pytest.raises(UnfitProviderError) as refused:
        addresses(ISSUER, TOLD | {"issuer": issuer})
    assert repr(issuer) in str(refused.value)
    assert f"jupyterhub_oidc_issuer is {ISSUER!r}" in str(refused.value)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"])
@pytest.mark.parametrize("value", ["http://login.example.org/x", "https://", "https://a b", "", None, ["https://a"]])
def test_an_address_in_clear_or_none_is_refused_and_named(name: str, value: object) -> None:
    with pytest.raises(UnfitProviderError) as refused:
        addresses(ISSUER, TOLD | {name: value})
    assert f"its {name} is {value!r}" in str(refused.value)


@pytest.mark.parametrize("told", [None, [], "x"])
def test_an_answer_that_is_no_object_is_refused(told: object) -> None:
    with pytest.raises(UnfitProviderError, match="does not name its addresses"):
        addresses(ISSUER, told)


def test_a_value_that_is_long_is_shown_in_part() -> None:
    with pytest.raises(UnfitProviderError) as refused:
        addresses(ISSUER, TOLD | {"issuer": "x" * 10_000})
    assert len(str(refused.value)) < 1000


def test_groups_that_the_site_does_not_name_are_nobodys_here() -> None:
    assert mapped({"a": "ocean", "b": "ice", "c": "ice"}, ["c", "b", "x", "a"]) == ["ice", "ocean"]
