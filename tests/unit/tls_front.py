"""A front for unit tests: an HTTPS server of this machine's, with a certificate of a given authority."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.hub_front import Front

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


def signed(key_pem: str, authority_pem: str, folder: Path, days: float | None = None) -> Path:
    """Write a key and its certificate for the name and those below it, as the role `certificates` has them made.

    It ends with the authority, or in so many ``days``.
    """
    signer = serialization.load_pem_private_key(key_pem.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    above = x509.load_pem_x509_certificate(authority_pem.encode())
    key = ec.generate_private_key(ec.SECP256R1())
    ends = above.not_valid_after_utc
    if days is not None:
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName(f"*.{NAME}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)]))
        .issuer_name(above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(above.not_valid_before_utc)
        .not_valid_after(ends)
        .add_extension(names, critical=False)
        .sign(signer, hashes.SHA256())
    )
    both = folder / "both.pem"
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return both


@contextlib.contextmanager
def serving(key: str, certificate: str, folder: Path, days: float | None = None) -> Iterator[Front]:
    """Serve with a certificate that the authority of these two signs, and yield a front that trusts it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed(key, certificate, folder, days))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="front")
    thread.start()
    try:
        yield Front(f"https://{NAME}:{server.server_port}", "127.0.0.1", certificate, subdomains=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
