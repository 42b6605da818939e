"""Keys and signatures of the binary cache."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from appliance.depot.errors import DepotError
from appliance.depot.signing import NarInfo, load_or_make, parse_key

INFO = """\
StorePath: /nix/store/00000000000000000000000000000000-thing
URL: nar/1.nar.zst
Compression: zstd
FileHash: sha256:1
FileSize: 10
NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73
NarSize: 96
References: 22222222222222222222222222222222-z 11111111111111111111111111111111-a
"""


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    private, public = tmp_path / "key", tmp_path / "key.pub"

    first = load_or_make(private, public)
    again = load_or_make(private, public)

    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert first.public == again.public == public.read_text().strip()
    assert first.secret not in public.read_text()
    name, _, encoded = private.read_text().strip().partition(":")
    assert name == "appliance-depot-1"
    assert len(base64.b64decode(encoded)) == 64


def test_a_damaged_key_is_named_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("appliance-depot-1:c2VjcmV0")

    with pytest.raises(DepotError) as caught:
        load_or_make(tmp_path / "key", tmp_path / "key.pub")

    assert "c2VjcmV0" not in str(caught.value)


def test_the_fingerprint_is_what_nix_signs() -> None:
    assert NarInfo.parse(INFO).fingerprint == (
        "1;/nix/store/00000000000000000000000000000000-thing;"
        "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73;96;"
        "/nix/store/11111111111111111111111111111111-a,/nix/store/22222222222222222222222222222222-z"
    )


@pytest.mark.parametrize("references", ["References: \n", "References:\n", ""])
def test_a_path_without_references(references: str) -> None:
    text = "".join(line for line in INFO.splitlines(keepends=True) if not line.startswith("References")) + references

    assert NarInfo.parse(text).fingerprint.endswith(";96;")


def test_a_signature_holds_for_what_was_signed_and_for_nothing_else(tmp_path: Path) -> None:
    key = load_or_make(tmp_path / "key", tmp_path / "key.pub")
    other = load_or_make(tmp_path / "other", tmp_path / "other.pub")
    signed = NarInfo.parse(INFO).signed(key)

    assert NarInfo.parse(signed).verify(key.public)
    assert not NarInfo.parse(signed).verify(other.public)
    assert not NarInfo.parse(signed.replace("NarSize: 96", "NarSize: 97")).verify(key.public)


def test_signing_again_replaces_the_signature(tmp_path: Path) -> None:
    key = load_or_make(tmp_path / "key", tmp_path / "key.pub")

    twice = NarInfo.parse(NarInfo.parse(INFO).signed(key)).signed(parse_key(key.secret))

    assert twice.count("Sig: ") == 1


@pytest.mark.parametrize("text", ["", "StorePath /nix/store/x\n", "StorePath: /nix/store/x\n"])
def test_what_is_no_narinfo_is_refused(text: str) -> None:
    with pytest.raises(DepotError, match="no narinfo"):
        NarInfo.parse(text)
