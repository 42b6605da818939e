"""A certificate that is refused, or that ends soon, is told of with the way out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from free_ports import free_ports
from tls_front import serving

from appliance.inventory_secrets import authority
from appliance.preflight.role_catalogue import RoleCatalogue
from appliance.verify import certificates


def test_certificates_that_hold_are_counted(tmp_path: Path) -> None:
    with serving(*authority(), tmp_path, days=50.5) as front:
        assert certificates.hub(front) == "ok, 50 days"
        assert certificates.between_machines({front.url: front.address}, front.authority) == "ok, 1 for 50 days"


def test_one_that_ends_soon_says_what_to_run(tmp_path: Path) -> None:
    with serving(*authority(), tmp_path, days=29.1) as front:
        with pytest.raises(
            certificates.CertificateError, match=r"it ends in 29 days: run site.yml.*own_certificate_pem"
        ):
            certificates.hub(front)
        with pytest.raises(OSError, match=rf"run site.yml.*: {front.url}: it ends in 29 days"):
            certificates.between_machines({front.url: front.address}, front.authority)


def test_one_of_another_authority_says_what_to_run(tmp_path: Path) -> None:
    other = authority()[1]
    with serving(*authority(), tmp_path) as front:
        with pytest.raises(certificates.CertificateError, match=r"it is refused \(.*\): run site.yml"):
            certificates.hub(dataclasses.replace(front, authority=other))
        with pytest.raises(OSError, match=r"^run site.yml.*it is refused"):
            certificates.between_machines({front.url: front.address}, other)


def test_who_does_not_answer_is_named_beside_the_others(tmp_path: Path) -> None:
    with serving(*authority(), tmp_path, days=3) as front:
        silent = f"https://store1:{free_ports(1)[0]}"
        asked = {silent: "127.0.0.1", front.url: front.address}
        with pytest.raises(OSError, match=rf"^run site.yml.*{front.url}.*see whether these run.*{silent} at 127.0.0.1"):
            certificates.between_machines(asked, front.authority)


def test_the_preflight_has_certificates_renewed_before_they_are_told_of() -> None:
    rules = RoleCatalogue.read(Path(__file__).parents[3]).rules
    assert rules["certificates_renewal_days"].min == certificates.LEAST_DAYS
