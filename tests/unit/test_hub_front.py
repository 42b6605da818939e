"""A front is asked for its names, at its address, and trusted by its authority alone."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator

import pytest
from cryptography import x509
from tls_front import NAME, serving

from appliance.hub_front import Front
from appliance.inventory_secrets import authority


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with serving(*authority(), tmp_path_factory.mktemp("tls")) as front:
        yield front


def test_the_hub_and_each_researcher_have_a_name(front: Front) -> None:
    port = front.url.rpartition(":")[2]
    for origin in (front.url, front.of("alice")):
        with front.opener().open(f"{origin}/path", timeout=10) as answer:
            assert answer.read().decode() == origin.removeprefix("https://")
    assert front.of("alice") == f"https://alice.{NAME}:{port}"
    assert Front(front.url, front.address, front.authority, subdomains=False).of("alice") == front.url


def test_the_certificate_says_how_long_it_holds(front: Front) -> None:
    assert 3648 < front.days_left() < 3650


def test_another_authority_and_another_name_are_refused(front: Front) -> None:
    other = Front(front.url, front.address, authority()[1], subdomains=True)
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        other.opener().open(front.url, timeout=10)
    with pytest.raises(urllib.error.URLError, match="Hostname mismatch"):
        front.opener().open(front.url.replace(NAME, "elsewhere.test"), timeout=10)


def test_an_authority_signs_certificates_of_machines_and_of_no_other_authority() -> None:
    first, second = (x509.load_pem_x509_certificate(authority()[1].encode()) for _ in range(2))
    assert first.subject != second.subject
    constraints = first.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert (first.not_valid_after_utc - first.not_valid_before_utc).days == 3650
