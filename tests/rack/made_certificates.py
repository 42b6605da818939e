"""Certificates as a site might bring its own, sound and otherwise."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.datetime.now(datetime.UTC)
Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Signer:
    """An authority, with the names in its certificate."""

    key: Key
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """Its certificate."""
        return pem(self.certificate)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: Key) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def authority(name: str, above: Signer | None = None) -> Signer:
    """A root, or an authority that another one vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _certificate(name, above.certificate.subject if above else _name(name), key, days=365)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Signer(key, builder.sign(above.key if above else key, hashes.SHA256()))


def of_names(names: list[str], above: Signer, key: Key, days: float = 100, begins: float = -200) -> str:
    """A server's certificate that begins and ends in some days; in the past where they are negative."""
    builder = _certificate(names[0], above.certificate.subject, key, days, begins)
    builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    return pem(builder.sign(above.key, hashes.SHA256()))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _certificate(name: str, issuer: x509.Name, key: Key, days: float, begins: float = -200) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=_name(name),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW + datetime.timedelta(days=begins),
        not_valid_after=NOW + datetime.timedelta(days=days),
    )
