"""Researchers log in at an OpenID Connect provider, and have its groups; nobody else gets in by it."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from machines import FACILITY, HEAD, ask
from made_certificates import authority
from openid import CLIENT, ISSUER, SECRET, Person, Provider, provider
from site_run import play

pytestmark = pytest.mark.long

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


def hub_forgets() -> None:
    """Restart the hub, so that it knows nothing of the provider."""
    health = f"http://127.0.0.1:{FACILITY.facts['jupyterhub_proxy_port']}/hub/health"
    ask(
        HEAD,
        f"systemctl restart jupyterhub; curl --silent --fail --retry 60 --retry-all-errors --retry-delay 1 {health}",
    )


def refusal(made: Provider) -> str:
    """The page that says why nobody can log in."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        Person(made.front).open(f"{FACILITY.front.url}/hub/oauth_login")
    assert refused.value.code == 503
    return refused.value.read().decode()


def test_where_the_provider_is_down_who_is_in_stays_in_and_the_page_says_what_is_wrong(made: Provider) -> None:
    alice = Person(made.front)
    alice.log_in("alice")
    hub_forgets()
    made.stop()
    try:
        assert "the provider of the tests, which says who you are, does not answer" in refusal(made)
        assert '"name": "alice"' in alice.open(f"{FACILITY.front.url}/hub/api/user")[1]
    finally:
        made.start()
    assert Person(made.front).log_in("bob")[0].endswith("/hub/home")


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"token_endpoint": ISSUER.replace("https", "http") + "/token"}, "its token_endpoint is "),
        ({"userinfo_endpoint": ISSUER.replace("https", "http") + "/me"}, "its userinfo_endpoint is "),
        ({"issuer": "https://another.rack.test"}, "it calls itself "),
    ],
)
def test_a_provider_in_clear_or_of_another_name_is_not_used(made: Provider, told: dict[str, str], fault: str) -> None:
    made.stop()
    made.settings["told"] = told
    made.start()
    hub_forgets()
    try:
        page = refusal(made)
        assert fault in page
        assert next(iter(told.values())) in page
    finally:
        made.stop()
        made.settings["told"] = {}
        made.start()
    assert Person(made.front).log_in("bob")[0].endswith("/hub/home")


def test_a_provider_of_another_authority_is_not_asked(made: Provider) -> None:
    other = variables(made, jupyterhub_provider_authorities=authority("Another one").pem)
    assert play("hub.yml", **other).status == 0
    try:
        assert "does not answer" in refusal(made)
    finally:
        assert play("hub.yml", **variables(made)).status == 0
    assert Person(made.front).log_in("bob")[0].endswith("/hub/home")


def test_who_is_locked_is_not_let_in_by_the_provider(made: Provider) -> None:
    ask(HEAD, "chage --expiredate 1 bob")
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            Person(made.front).log_in("bob")
        assert refused.value.code == 403
    finally:
        ask(HEAD, "chage --expiredate -1 bob")


@pytest.mark.parametrize("secret", ["", "gehe\u00efm"])
def test_a_secret_that_cannot_be_used_changes_nothing(made: Provider, secret: str) -> None:
    before = ask(HEAD, "sha256sum /etc/jupyterhub/provider.json")
    done = play("hub.yml", **variables(made, jupyterhub_oidc_client_secret=secret))
    assert done.status != 0
    assert "jupyterhub_oidc_client_secret is empty or not of printable ASCII" in done.said
    assert ask(HEAD, "sha256sum /etc/jupyterhub/provider.json") == before
