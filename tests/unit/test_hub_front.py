"""A front is asked for its names, at its address, and trusted by its authority alone."""

from __future__ import annotations

import http.server
import ssl
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.hub_front import Front
from appliance.inventory_secrets import authority

NAME = "hub.example.test"


class Hosts(http.server.BaseHTTPRequestHandler):
    """Answers with the host that was asked for."""

    def do_GET(self) -> None:
        body = str(self.headers["Host"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


def signed(key_pem: str, authority_pem: str, folder: Path) -> Path:
    """Write a key and its certificate for the name and those below it, as the role `certificates` has them made."""
    signer = serialization.load_pem_private_key(key_pem.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    above = x509.load_pem_x509_certificate(authority_pem.encode())
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName(f"*.{NAME}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)]))
        .issuer_name(above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(above.not_valid_before_utc)
        .not_valid_after(above.not_valid_after_utc)
        .add_extension(names, critical=False)
        .sign(signer, hashes.SHA256())
    )
    both = folder / "both.pem"
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return both


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    key, certificate = authority()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed(key, certificate, tmp_path_factory.mktemp("tls")))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="front")
    thread.start()
    yield Front(f"https://{NAME}:{server.server_port}", "127.0.0.1", certificate, subdomains=True)
    server.shutdown()
    thread.join()
    server.server_close()


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
