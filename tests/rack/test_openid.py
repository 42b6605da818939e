"""Researchers log in at an OpenID Connect provider, and have its groups; nobody else gets in by it."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from machines import FACILITY, HEAD, ask
from openid import CLIENT, ISSUER, SECRET, Person, Provider, provider
from site_run import play

OURS = "test-ocean"


def variables(made: Provider, **changed: object) -> dict[str, Any]:
    return {
        "jupyterhub_log_in": "oidc",
        "jupyterhub_oidc_name": "the provider of the tests",
        "jupyterhub_oidc_issuer": ISSUER,
        "jupyterhub_oidc_client_id": CLIENT,
        "jupyterhub_oidc_client_secret": SECRET,
        "jupyterhub_oidc_groups": {"ocean-people": OURS},
        "jupyterhub_provider_authorities": made.front.authority,
        **changed,
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A facility whose log-ins a provider checks; afterwards its own passwords count again."""
    ask(HEAD, f"groupadd --gid 59001 {OURS}")
    groups = {"bob": ["ocean-people", "others"], "zoe": ["ocean-people"], "alice": ["others"]}
    try:
        with provider(tmp_path_factory.mktemp("provider"), groups) as made:
            done = play("hub.yml", **variables(made))
            assert done.status == 0, done.said
            assert SECRET not in done.said
            yield made
    finally:
        assert play("hub.yml").status == 0
        ask(HEAD, f"groupdel {OURS}")


def test_a_researcher_logs_in_at_the_provider_and_has_its_groups(made: Provider) -> None:
    for name in ("bob", "alice"):
        person = Person(made.front)
        page, _ = person.log_in(name)
        assert page == f"{FACILITY.front.url}/hub/home"
        told = person.open(f"{FACILITY.front.url}/hub/api/user")[1]
        assert f'"name": "{name}"' in told
        assert (OURS in told) == (name == "bob")


@pytest.mark.parametrize("name", ["zoe", "root", "nobody", "ALICE/../bob", "alice\u0000"])
def test_nobody_gets_in_whom_the_facility_does_not_know(made: Provider, name: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        Person(made.front).log_in(name)
    assert refused.value.code in (400, 403)


def test_an_answer_that_the_hub_did_not_ask_for_opens_nothing(made: Provider) -> None:
    """A code of somebody else's, or none, without the state that the hub gave to this browser."""
    for answer in ("code=x&state=y", "code=x", "error=access_denied&state=y"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            Person(made.front).open(f"{FACILITY.front.url}/hub/oauth_callback?{answer}")
        assert refused.value.code in (400, 403)


def test_where_the_provider_is_down_who_is_in_stays_in_and_the_page_says_what_is_wrong(made: Provider) -> None:
    alice = Person(made.front)
    alice.log_in("alice")
    # So that it knows nothing of the provider.
    health = f"http://127.0.0.1:{FACILITY.facts['jupyterhub_proxy_port']}/hub/health"
    ask(
        HEAD,
        f"systemctl restart jupyterhub; curl --silent --fail --retry 60 --retry-all-errors --retry-delay 1 {health}",
    )
    made.stop()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            Person(made.front).open(f"{FACILITY.front.url}/hub/oauth_login")
        assert refused.value.code == 503
        assert "the provider of the tests, which says who you are, does not answer" in refused.value.read().decode()
        assert '"name": "alice"' in alice.open(f"{FACILITY.front.url}/hub/api/user")[1]
    finally:
        made.start()
    assert Person(made.front).log_in("bob")[0].endswith("/hub/home")
