"""Signatures of a Nix binary cache, made where the key lives: the key never leaves the control host.

Formats as in Nix's manual, "nix-store --generate-binary-cache-key" and libstore's narinfo: a key is
``NAME:base64(ed25519 seed + public key)``; what is signed is the text ``1;PATH;NARHASH;NARSIZE;REFERENCES`` with the
references as full store paths, joined by commas.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.depot.errors import DepotError

STORE = "/nix/store/"
KEY_NAME = "appliance-depot-1"


@dataclass(frozen=True)
class SigningKey:
    """An ed25519 key with the name that machines trust it by."""

    name: str
    private: Ed25519PrivateKey

    @property
    def public(self) -> str:
        """``NAME:base64``, as nix.conf's trusted-public-keys wants it."""
        return f"{self.name}:{base64.b64encode(self.private.public_key().public_bytes_raw()).decode()}"

    @property
    def secret(self) -> str:
        """``NAME:base64`` of seed and public key, 64 bytes: what the private key's file holds, and no log."""
        raw = self.private.private_bytes_raw() + self.private.public_key().public_bytes_raw()
        return f"{self.name}:{base64.b64encode(raw).decode()}"

    def sign(self, text: str) -> str:
        """Return ``NAME:base64`` of the signature of ``text`` in UTF-8, as a narinfo's field ``Sig`` holds it."""
        return f"{self.name}:{base64.b64encode(self.private.sign(text.encode())).decode()}"


def parse_key(text: str) -> SigningKey:
    """Read a key in Nix's format.

    Raises:
        DepotError: it is no such key (the message does not repeat it).
    """
    name, _, encoded = text.strip().partition(":")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        raw = b""
    if not name or len(raw) != 64:
        raise DepotError("the signing key is no Nix key (NAME:base64 of 64 bytes); remove it, and `depot up` makes one")
    return SigningKey(name, Ed25519PrivateKey.from_private_bytes(raw[:32]))


def load_or_make(private: Path, public: Path) -> SigningKey:
    """The depot's key, made at the first call: private with mode 0600, public beside it."""
    if private.exists():
        key = parse_key(private.read_text(encoding="ascii"))
    else:
        key = SigningKey(KEY_NAME, Ed25519PrivateKey.generate())
        # Opened with its final mode: there is no moment in which others could read it.
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key.secret + "\n")
    if not public.exists() or public.read_text(encoding="ascii").strip() != key.public:
        public.write_text(key.public + "\n", encoding="ascii")
        public.chmod(0o644)
    return key


@dataclass(frozen=True)
class NarInfo:
    """A binary cache's description of one store path; fields in file order, signatures apart."""

    fields: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> NarInfo:
        """Read the text of a narinfo file: a field a line, as ``NAME: VALUE``.

        Raises:
            DepotError: a line is no field, or StorePath, URL, NarHash or NarSize is missing.
        """
        fields = []
        for line in text.splitlines():
            name, separator, value = line.partition(": ")
            if not separator and line.endswith(":"):
                name, separator = line[:-1], ": "
            if not separator:
                raise DepotError(f"no narinfo: the line {line!r} is not NAME: VALUE")
            fields.append((name, value.strip()))
        info = cls(tuple(fields))
        for name in ("StorePath", "URL", "NarHash", "NarSize"):
            info[name]
        return info

    def __getitem__(self, name: str) -> str:
        for field, value in self.fields:
            if field == name:
                return value
        raise DepotError(f"no narinfo: it has no {name}")

    @property
    def references(self) -> list[str]:
        """Full store paths of what this path refers to, sorted as Nix sorts them."""
        try:
            names = self["References"].split()
        except DepotError:
            names = []
        return sorted(STORE + name for name in names)

    @property
    def fingerprint(self) -> str:
        """The text that a signature covers."""
        return f"1;{self['StorePath']};{self['NarHash']};{self['NarSize']};{','.join(self.references)}"

    def signed(self, key: SigningKey) -> str:
        """The file's text with this key's signature in place of any that it had."""
        lines = [f"{name}: {value}" for name, value in self.fields if name != "Sig"]
        return "\n".join([*lines, f"Sig: {key.sign(self.fingerprint)}"]) + "\n"

    def verify(self, public: str) -> bool:
        """Whether one of the signatures is of this public key (``NAME:base64``)."""
        name, _, encoded = public.strip().partition(":")
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded))
        for field, value in self.fields:
            if field == "Sig" and value.startswith(name + ":"):
                try:
                    key.verify(base64.b64decode(value.partition(":")[2]), self.fingerprint.encode())
                except InvalidSignature:
                    continue
                return True
        return False
