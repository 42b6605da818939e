"""The site's own certificate is judged before anything is changed; a new one comes in while notebooks run."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hub_session import HubSession
from machines import FACILITY, HEAD, RACK, STORES, ask
from made_certificates import Key, Signer, authority, key_pem, of_names
from server_session import with_server
from site_run import play

NAME = str(urlsplit(FACILITY.front.url).hostname)
NAMES = [NAME, f"*.{NAME}", str(FACILITY.facts["catalogue_public_name"])]
OWN = "/etc/appliance/tls/machine.pem"
HUBS = "/etc/appliance/tls/hub.pem"
PORT = int(FACILITY.facts["jupyterhub_public_port"])

DAYS_LEFT = f"""
from appliance.hub_front import Front
print(Front({FACILITY.front.url!r}, {FACILITY.front.address!r}, '''{{}}''', True).days_left())
"""


@dataclasses.dataclass(frozen=True)
class Site:
    """A site's root, the authority below it, and a key."""

    root: Signer
    below: Signer
    key: Key
    roots: Path

    def variables(self, certificate: str, key: str = "") -> dict[str, object]:
        return {
            "own_certificate_pem": certificate,
            "own_certificate_key": key or key_pem(self.key),
            "own_certificate_authorities": [str(self.roots)],
        }

    def sound(self) -> str:
        """A certificate with its chain, which a browser would take."""
        return of_names(NAMES, self.below, self.key) + self.below.pem


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = authority("Root of a site")
    roots = tmp_path_factory.mktemp("roots") / "root.pem"
    roots.write_text(root.pem)
    return Site(root, authority("Below it", root), ec.generate_private_key(ec.SECP256R1()), roots)


@pytest.fixture
def alices_server() -> HubSession:
    return with_server(FACILITY, "alice")


def shown(certificates: str) -> bytes:
    """The certificate that the front shows to who trusts these."""
    context = ssl.create_default_context(cadata=certificates)
    with (
        socket.create_connection((FACILITY.front.address, PORT), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=f"alice.{NAME}") as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def state() -> str:
    """What a run could have changed of the front on the head."""
    return ask(HEAD, "find /etc/appliance/tls /etc/appliance/https-front -type f | sort | xargs sha256sum")


WRONG = ["expired", "not yet begun", "of another name", "without the researchers' names", "without its chain",
         "with another key", "of no authority", "with no key", "no certificate"]  # fmt: skip


def wrong(site: Site, kind: str) -> tuple[dict[str, object], list[str]]:
    """The variables of one kind of fault, and the words that tell of it."""
    chain = site.below.pem
    if kind == "expired":
        return site.variables(of_names(NAMES, site.below, site.key, days=-1) + chain), ["it ended on", "current one"]
    if kind == "not yet begun":
        return site.variables(of_names(NAMES, site.below, site.key, begins=1) + chain), ["it begins on", "holds today"]
    if kind == "of another name":
        elsewhere = of_names(["elsewhere.test"], site.below, site.key)
        return site.variables(elsewhere + chain), [f"it is not for {NAME}, *.{NAME}", "only for elsewhere.test"]
    if kind == "without the researchers' names":
        one = of_names([NAME], site.below, site.key)
        return site.variables(one + chain), [f"it is not for *.{NAME}", "jupyterhub_subdomains"]
    if kind == "without its chain":
        return site.variables(of_names(NAMES, site.below, site.key)), ["no chain leads", "intermediate certificates"]
    if kind == "with another key":
        other = key_pem(ec.generate_private_key(ec.SECP256R1()))
        return site.variables(site.sound(), other), ["own_certificate_key is not its key"]
    if kind == "of no authority":
        stranger = authority("Nobody knows it")
        return site.variables(of_names(NAMES, stranger, site.key)), ["no chain leads", str(site.roots)]
    if kind == "with no key":
        return site.variables(site.sound(), "none"), ["own_certificate_key is not its key"]
    return site.variables("none"), ["own_certificate_pem"]


# The role judges with the same tasks as the preflight: one kind shows that it does.
@pytest.mark.parametrize(
    ("kind", "playbook"),
    [
        (WRONG[0], "hub.yml"),
        (WRONG[2], "preflight.yml"),
        *(pytest.param(kind, "preflight.yml", marks=pytest.mark.long) for kind in WRONG if kind != WRONG[2]),
    ],
)
def test_a_certificate_that_browsers_would_not_take_is_refused(kind: str, playbook: str, site: Site) -> None:
    before = state()
    variables, words = wrong(site, kind)
    done = play(playbook, **variables)
    assert done.status != 0
    said = " ".join(done.said.split())
    assert [told for told in words if told not in said] == [], said[-2000:]
    assert key_pem(site.key).splitlines()[2] not in said
    assert state() == before


@pytest.mark.long
def test_one_that_ends_soon_is_told_of(site: Site) -> None:
    done = play("preflight.yml", **site.variables(of_names(NAMES, site.below, site.key, days=29) + site.below.pem))
    assert done.status == 0, done.said
    assert "have the next one made" in done.said
    # One of the domain that the hub's name stands in is for the hub, too.
    wide = of_names([f"*.{NAME.partition('.')[2]}", f"*.{NAME}"], site.below, site.key) + site.below.pem
    done = play("preflight.yml", **site.variables(wide))
    assert done.status == 0, done.said
    assert "have the next one made" not in done.said


@pytest.fixture
def _own_authority_again() -> Iterator[None]:
    yield
    done = play("hub.yml")
    assert done.status == 0, done.said
    shown(FACILITY.front.authority)


@pytest.mark.long
@pytest.mark.usefixtures("_own_authority_again")
def test_a_sites_own_certificate_comes_and_goes_while_notebooks_run(site: Site, alices_server: HubSession) -> None:
    started = ask(HEAD, "systemctl show --value --property=InvocationID jupyter-alice-singleuser jupyterhub")
    own = site.variables(site.sound())
    done = play("hub.yml", **own)
    assert done.status == 0, done.said
    assert shown(site.root.pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(FACILITY.front.authority)
    assert play("hub.yml", **own).changes == []
    # What the authority renews meanwhile is nothing to a front that does not show it.
    front = "systemctl show --value --property=InvocationID appliance-https-front"
    started_front = ask(HEAD, front)
    assert play("certificates.yml", certificates_renewal_days=397).status == 0
    assert ask(HEAD, front) == started_front
    # Role verify asks as browsers do, which take an authority without identifiers and key usages.
    assert float(ask(HEAD, "/opt/appliance/services/bin/python -", given=DAYS_LEFT.format(site.root.pem))) > 90
    assert play("hub.yml").status == 0
    alices_server.ask("/user/alice/api/status")
    assert started == ask(HEAD, "systemctl show --value --property=InvocationID jupyter-alice-singleuser jupyterhub")


@pytest.mark.long
def test_a_certificate_is_made_anew_before_it_ends_while_notebooks_run(alices_server: HubSession) -> None:
    before, key = shown(FACILITY.front.authority), ask(HEAD, f"sha256sum {HUBS}.key")
    started = ask(HEAD, "systemctl show --value --property=InvocationID jupyter-alice-singleuser jupyterhub")
    assert play("certificates.yml").changes == []
    assert shown(FACILITY.front.authority) == before
    # It holds for 397 days: to a run that wants them all, it ends soon.
    assert play("certificates.yml", certificates_renewal_days=397).status == 0
    assert shown(FACILITY.front.authority) != before
    assert ask(HEAD, f"sha256sum {HUBS}.key") == key
    alices_server.ask("/user/alice/api/status")
    assert started == ask(HEAD, "systemctl show --value --property=InvocationID jupyter-alice-singleuser jupyterhub")


def shown_to_all(machine: str, door: str) -> str:
    """The certificate that a machine shows at a port, PEM, whoever signed it."""
    address = (RACK.machine(machine).address, int(FACILITY.facts[door]))
    return ask(machine, f'/usr/bin/python3.13 -c "import ssl; print(ssl.get_server_certificate({address!r}))"').strip()


@pytest.mark.long
def test_a_certificate_that_nobody_has_read_is_shown_after_the_next_run() -> None:
    """As a run leaves it that ends between file and restart: here the files get the certificates of before."""
    doors = [(STORES[0], "ceph_rgw_tls_port"), (STORES[0], "placement_port"), (HEAD, "gateway_http_port")]
    files = {machine: ask(machine, f"cat {OWN}") for machine in (HEAD, STORES[0])}
    hubs = ask(HEAD, f"cat {HUBS}")
    assert play("certificates.yml", certificates_renewal_days=397).status == 0
    for machine, text in files.items():
        assert shown_to_all(machine, dict(doors)[machine]) != text.strip()
        ask(machine, f"cat > {OWN}", given=text)
    ask(HEAD, f"cat > {HUBS}", given=hubs)
    done = play("certificates.yml")
    assert done.status == 0, done.said
    assert [door for machine, door in doors if shown_to_all(machine, door) != files[machine].strip()] == []
    assert shown(FACILITY.front.authority) == ssl.PEM_cert_to_DER_cert(hubs)
    assert play("certificates.yml").changes == []


def test_the_gateway_has_no_key_of_the_hubs() -> None:
    hubs = ask(HEAD, f"sha256sum < {HUBS}.key")
    for unit in ("dask-gateway", "appliance-https-front"):
        held = ask(HEAD, f"for one in /run/credentials/{unit}.service/*; do sha256sum < $one; done")
        assert (hubs in held) == (unit == "appliance-https-front")
    names = ask(HEAD, f"openssl x509 -noout -ext subjectAltName -in {OWN}")
    assert f"DNS:{HEAD}" in names
    assert NAME not in names


@pytest.mark.long
def test_certificates_between_machines_that_end_soon_are_told_of_and_made_anew() -> None:
    try:
        assert play("certificates.yml", certificates_days=20, certificates_renewal_days=397).status == 0
        done = play("verify.yml")
        assert done.status != 0
        for machine in STORES:
            assert f"https://{machine}:{FACILITY.facts['ceph_rgw_tls_port']}: it ends in" in done.said
            assert f"https://{machine}:{FACILITY.facts['placement_port']}: it ends in" in done.said
    finally:
        # By the usual rule: fewer days are left to them than it wants.
        assert play("certificates.yml").status == 0
    assert play("verify.yml").status == 0
