"""Secrets of a site: made once, encrypted before they reach the disk, never shown."""

from __future__ import annotations

import base64
import datetime
import os
import struct
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from secrets import choice, token_bytes, token_hex, token_urlsafe
from typing import Any

import click

PASSWORD_FILE = ".vault-password"  # noqa: S105 (a name)
SECRETS_FILE = Path("group_vars/all/secrets.yml")
# Ceph's number for keys of AES256KRB5, the cipher of release 20.2.4 that closes CVE-2025-30156, and their length.
CEPHX_KEY_TYPE = 2
CEPHX_KEY_BYTES = 32
# Secrets that can be given anew, and the playbook that brings the new ones to the machines.
RENEWABLE = {
    "ceph_admin_key": "secrets",
    "jupyterhub_cookie_secret": "secrets",
    "jupyterhub_proxy_token": "secrets",
    "certificates_ca_key": "secrets",
    "accounts_passwords": "researchers",
}
AUTHORITY_KEY, AUTHORITY_CERTIFICATE = "certificates_ca_key", "certificates_ca_certificate"
AUTHORITY_DAYS = 3650
KEY_USAGES = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
]


class SecretsError(Exception):
    """The secrets cannot be made or read; the message names the file and the way out."""


def cephx_key() -> str:
    """A new cephx key as Ceph encodes it: type, time (seconds, nanoseconds), length, random bytes; in base 64."""
    header = struct.pack("<HIIH", CEPHX_KEY_TYPE, int(time.time()), 0, CEPHX_KEY_BYTES)
    return base64.b64encode(header + token_bytes(CEPHX_KEY_BYTES)).decode()


def password() -> str:
    """A new password that a person can type: four groups of five characters, 100 bits."""
    alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
    return "-".join("".join(choice(alphabet) for _ in range(5)) for _ in range(4))


def authority() -> tuple[str, str]:
    """A new authority for the facility's certificates: its key and its certificate, PEM.

    The key is of the curve P-256, which all browsers take. No authority below it is valid.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # A number in the name, so that a browser that knows several facilities can tell them apart.
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Cluster appliance authority {token_hex(4)}")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    usage = dict.fromkeys(KEY_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return plain.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def completed(present: Mapping[str, Any], users: Iterable[str]) -> dict[str, Any]:
    """All secrets of a site: those that are present stay as they are, and only missing ones are made.

    ``present`` holds the secrets by variable; ``users`` are the researchers, each of whom gets a password.
    Passwords of researchers who are not named any more are kept.
    """
    full = dict(present)
    makers: dict[str, Callable[[], str]] = {
        "ceph_fsid": lambda: str(uuid.uuid4()),
        "ceph_mon_key": cephx_key,
        "ceph_admin_key": cephx_key,
        "jupyterhub_cookie_secret": lambda: token_hex(32),
        "jupyterhub_proxy_token": lambda: token_hex(32),
    }
    for name, make in makers.items():
        full.setdefault(name, make())
    if not full.keys() >= {AUTHORITY_KEY, AUTHORITY_CERTIFICATE}:
        full[AUTHORITY_KEY], full[AUTHORITY_CERTIFICATE] = authority()
    passwords = dict(full.get("accounts_passwords") or {})
    for user in users:
        passwords.setdefault(user, password())
    full["accounts_passwords"] = passwords
    return full


def without(present: Mapping[str, Any], renewed: Iterable[str]) -> dict[str, Any]:
    """The secrets that stay where some are to be made anew: ``accounts_passwords.NAME`` is one researcher's password.

    Raises SecretsError where one of them is none, or none that can be made anew.
    """
    kept = dict(present)
    for name in renewed:
        variable, _, user = name.partition(".")
        passwords = dict(kept.get("accounts_passwords") or {})
        if variable not in RENEWABLE or (variable == "accounts_passwords") != bool(user):
            ways = ", ".join(sorted(RENEWABLE)).replace("accounts_passwords", "accounts_passwords.NAME")
            raise SecretsError(f"{name} cannot be made anew. Way out: choose among {ways}")
        if user and user not in passwords:
            raise SecretsError(f"{name}: no such researcher. Way out: choose among {', '.join(sorted(passwords))}")
        if user:
            del passwords[user]
            kept["accounts_passwords"] = passwords
        else:
            kept.pop(variable, None)
    return kept


def differing(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Names of the secrets in ``wanted`` that ``present`` lacks or has other values of; it may hold more."""
    found = [name for name in wanted if name != "accounts_passwords" and present.get(name) != wanted[name]]
    theirs, ours = (secrets.get("accounts_passwords") or {} for secrets in (wanted, present))
    return found + [f"accounts_passwords.{user}" for user in theirs if ours.get(user) != theirs[user]]


def researchers(inventory: Path) -> list[str]:
    """Names in ``accounts_users`` of the inventory's ``group_vars/all``; raises SecretsError if one is no YAML."""
    import yaml

    found: list[str] = []
    folder = inventory / "group_vars" / "all"
    files = sorted(folder.glob("*.y*ml")) if folder.is_dir() else []
    for path in [*files, inventory / "group_vars" / "all.yml"]:
        if path.name == SECRETS_FILE.name or not path.is_file():
            continue
        try:
            variables = yaml.safe_load(path.read_text()) or {}
        except yaml.YAMLError as error:
            raise SecretsError(f"{path} is no YAML that can be read: {error}") from error
        found += [user["name"] for user in variables.get("accounts_users") or []]
    return found


def _vault(key: str) -> Any:
    from ansible.parsing.vault import VaultLib, VaultSecret

    return VaultLib([("default", VaultSecret(key.encode()))])


def read(path: Path, key: str) -> dict[str, Any]:
    """The secrets in an encrypted file; raises SecretsError if it is not encrypted, or not with this password."""
    import yaml
    from ansible.errors import AnsibleError

    text = path.read_bytes()
    if not text.startswith(b"$ANSIBLE_VAULT;"):
        raise SecretsError(f"{path} is not encrypted. Way out: `ansible-vault encrypt {path}`, and run again")
    try:
        variables = yaml.safe_load(_vault(key).decrypt(text))
    except AnsibleError as error:
        raise SecretsError(
            f"{path} does not open with the password in {PASSWORD_FILE}: restore the password, or, on a site that "
            f"holds nothing, remove {path}"
        ) from error
    return dict(variables or {})


def write_private(path: Path, content: bytes) -> None:
    """Put a file in place whole, readable by its owner alone from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def ensure(inventory: Path, renewed: Sequence[str] = ()) -> list[str]:
    """Make the secrets that an inventory lacks, those to be ``renewed``, and its vault's password if there is none.

    Gives what was added, as variables' names (never values); an empty list if nothing was missing.
    Raises SecretsError, with nothing changed, if secrets are there that cannot be read.
    """
    import yaml

    if not inventory.is_dir():
        raise SecretsError(f"{inventory} is no directory. Way out: name an inventory, such as inventories/rack")
    password_path, secrets_path = inventory / PASSWORD_FILE, inventory / SECRETS_FILE
    users = researchers(inventory)
    if password_path.exists():
        key = password_path.read_text().strip()
    elif secrets_path.exists():
        raise SecretsError(
            f"{secrets_path} is there, but {password_path}, which opens it, is not. Way out: restore the password"
        )
    else:
        key = token_urlsafe(32)
        write_private(password_path, f"{key}\n".encode())
    present = without(read(secrets_path, key) if secrets_path.exists() else {}, renewed)
    full = completed(present, users)
    added = [name for name in full if name not in present and name != "accounts_passwords"]
    known = present.get("accounts_passwords") or {}
    added += [f"accounts_passwords.{user}" for user in full["accounts_passwords"] if user not in known]
    if added or not secrets_path.exists():
        plain = yaml.safe_dump(full, default_flow_style=False)
        write_private(secrets_path, bytes(_vault(key).encrypt(plain)))
    for path in (password_path, secrets_path):
        path.chmod(0o600)
    return added


@click.command("secrets")
@click.argument("inventory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--renew", multiple=True, metavar="NAME", help="Make this one anew; several are given one by one.")
def secrets(inventory: Path, renew: tuple[str, ...]) -> None:
    """Make the secrets that the inventory directory INVENTORY lacks; those that are there stay."""
    try:
        added = ensure(inventory, renew)
    except SecretsError as error:
        raise click.ClickException(str(error)) from error
    where = inventory / SECRETS_FILE
    click.echo(f"{where}: added {', '.join(added)}" if added else f"{where}: nothing was missing")
    for playbook in sorted({RENEWABLE[name.partition(".")[0]] for name in renew}):
        click.echo(f"bring them to the machines: ansible-playbook -i {inventory} playbooks/{playbook}.yml")
