"""Each of the facility's secrets is renewed by one playbook, while servers and clusters go on."""

from __future__ import annotations

import dataclasses
import json
import secrets
import ssl
import time
import urllib.error
from collections.abc import Iterator

import pytest
from hub_session import HubSession
from machines import FACILITY, HEAD, MACHINES, STORES, ask, run_on, until
from server_session import with_server
from site_run import play

from appliance.inventory_secrets import authority, cephx_key

OLD = "/run/test-old-admin"
KEYRING = "/etc/ceph/ceph.client.admin.keyring"
TRUSTED = "/usr/local/share/ca-certificates/appliance.crt"
VARIABLE = {
    "cookie-secret": "jupyterhub_cookie_secret",
    "proxy-token": "jupyterhub_proxy_token",
}
HELD = [
    ("secrets.yml", "jupyterhub.service", "/etc/jupyterhub/credentials/cookie-secret"),
    ("hub.yml", "jupyterhub-proxy.service", "/etc/jupyterhub/credentials/proxy-token"),
]
SERVER_ASKS = 60  # s: HubAuth.cache_max_age of researchers' servers (roles/jupyterhub/files/jupyter_server_config.json)
RUNNING = "systemctl show --value --property=InvocationID jupyter-alice-singleuser"


@pytest.fixture(scope="module", autouse=True)
def _the_vaults_own_again() -> Iterator[None]:
    """The rack's vault stays as it is: a run gives other secrets, and in the end one without them."""
    yield
    done = play("secrets.yml")
    assert done.status == 0, done.said
    assert json.loads(ask(STORES[0], "ceph health --format json"))["status"] == "HEALTH_OK"


@dataclasses.dataclass(frozen=True)
class Before:
    """What there was before ``secrets`` were new: alice's session, the unit of her server, the admin's keyring."""

    session: HubSession
    server: str
    keyring: str
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def before() -> Before:
    """Renew secrets of the hub and of Ceph in one run, while a server of alice's runs."""
    session = with_server(FACILITY, "alice")
    assert not refused(session, "/user/alice/api/status")
    new = {
        "ceph_admin_key": cephx_key(),
        "jupyterhub_cookie_secret": secrets.token_hex(32),
        "jupyterhub_proxy_token": secrets.token_hex(32),
    }
    before = Before(session, ask(HEAD, RUNNING), ask(STORES[0], f"cat {KEYRING}"), new)
    done = play("secrets.yml", **new)
    assert done.status == 0, done.said
    assert [value for value in new.values() if value in done.said] == []
    return before


def refused(session: HubSession, path: str) -> bool:
    """Whether a request is answered with 403, or led away to the log-in."""
    try:
        return "kernels" not in json.loads(session.ask(path))
    except urllib.error.HTTPError as error:
        return error.code == 403
    except ValueError:  # a page
        return True


def test_the_admin_s_key_is_renewed(before: Before) -> None:
    for machine in STORES:
        assert before.secrets["ceph_admin_key"] in ask(machine, f"cat {KEYRING}")
        ask(machine, "timeout 60 ceph health")
    # The old one opens nothing.
    ask(STORES[0], f"umask 077; cat > {OLD}", given=before.keyring)
    answer = run_on(STORES[0], f"timeout 60 ceph --keyring {OLD} health")
    ask(STORES[0], f"rm {OLD}")
    assert answer.returncode != 0
    assert "denied" in answer.stdout + answer.stderr


def test_cookies_of_before_open_nothing_and_servers_go_on(before: Before) -> None:
    with pytest.raises(urllib.error.HTTPError):
        before.session.ask("/hub/api/users/alice")
    # The server keeps the hub's answers for so long.
    begun = time.monotonic()
    until(lambda: refused(before.session, "/user/alice/api/status"), lambda: "the session at the server goes on")
    assert time.monotonic() < begun + SERVER_ASKS + 30
    again = HubSession(FACILITY.front, "alice")
    again.log_in(FACILITY.password("alice"))
    again.ask("/user/alice/lab")
    assert ask(HEAD, RUNNING) == before.server


def test_a_second_run_with_the_new_secrets_changes_nothing(before: Before) -> None:
    assert play("secrets.yml", **before.secrets).changes == []


@pytest.mark.long
def test_a_run_that_died_after_the_files_had_the_new_key_is_made_up_for() -> None:
    new = cephx_key()
    for machine in STORES:
        ask(machine, f"cat > {KEYRING}", given=f"[client.admin]\n\tkey = {new}\n")
    assert run_on(STORES[0], "timeout 60 ceph health").returncode != 0
    done = play("secrets.yml", ceph_admin_key=new)
    assert done.status == 0, done.said
    ask(STORES[0], "timeout 60 ceph health")


@pytest.mark.long
def test_another_authority_signs_anew() -> None:
    key, certificate = authority()
    new = {"certificates_ca_key": key, "certificates_ca_certificate": certificate}
    assert play("secrets.yml", **new).status == 0
    with pytest.raises((ssl.SSLError, urllib.error.URLError)):
        FACILITY.front.opener().open(f"{FACILITY.front.url}/hub/login", timeout=30)
    own = type(FACILITY.front)(FACILITY.front.url, FACILITY.front.address, certificate, FACILITY.front.subdomains)
    with own.opener().open(f"{own.url}/hub/login", timeout=30) as answer:
        assert answer.status == 200
    # Balancers ask other machines, a researcher's cluster the gateway.
    done = play("verify.yml", **new)
    assert done.status == 0, done.said
    for machine in MACHINES:
        bundle = f"/etc/ssl/certs/$(openssl x509 -noout -hash -in {TRUSTED}).0"
        ask(machine, f"cmp {bundle} {TRUSTED}")
    assert play("secrets.yml", **new).changes == []


@pytest.mark.long
@pytest.mark.parametrize(("playbook", "unit", "file"), HELD)
def test_a_restart_that_a_run_did_not_come_to_is_made_up_for(playbook: str, unit: str, file: str) -> None:
    """As such a run leaves it: the file is the new one, and what runs has read the one before."""
    name, new = file.rpartition("/")[2], secrets.token_hex(32)
    ask(HEAD, f"umask 077; cat > {file}", given=f"{new}\n")
    held = f"cat /run/credentials/{unit}/{name}"
    assert ask(HEAD, held).strip() != new
    done = play(playbook, **{VARIABLE[name]: new})
    assert done.status == 0, done.said
    assert ask(HEAD, held).strip() == new
    assert new not in done.said
    assert play(playbook).status == 0


@pytest.mark.long
def test_a_balancer_that_has_not_read_its_authority_is_reloaded() -> None:
    """The file is put in place as a run does it, with no other text: that nobody has read it is all that is to see."""
    path = "/etc/haproxy/authority.pem"
    main = "$(systemctl show --value --property=MainPID haproxy)"
    workers = f"ps -o pid= --ppid {main} | sort"
    before = {machine: ask(machine, workers) for machine in STORES}
    ask(STORES[0], f"cp --preserve {path} {path}.new && mv {path}.new {path}")
    done = play("secrets.yml")
    assert done.status == 0, done.said
    after = {machine: ask(machine, workers) for machine in STORES}
    assert [machine for machine in STORES if after[machine] != before[machine]] == [STORES[0]]
