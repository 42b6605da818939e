"""`appliance secrets`: encrypted from the first byte, kept once made."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance import inventory_secrets

USERS = "accounts_users:\n  - {name: alice, uid: 2001}\n  - {name: bob, uid: 2002}\n"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "site" / "group_vars" / "all"
    folder.mkdir(parents=True)
    (folder / "people.yml").write_text(USERS)
    return tmp_path / "site"


def opened(inventory: Path) -> dict[str, object]:
    key = (inventory / ".vault-password").read_text().strip()
    return inventory_secrets.read(inventory / inventory_secrets.SECRETS_FILE, key)


def test_a_new_site_gets_all_secrets_encrypted_and_private(inventory: Path) -> None:
    added = inventory_secrets.ensure(inventory)
    text = (inventory / inventory_secrets.SECRETS_FILE).read_text()
    assert text.startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    for path in (inventory / ".vault-password", inventory / inventory_secrets.SECRETS_FILE):
        assert path.stat().st_mode & 0o777 == 0o600
    values = opened(inventory)
    assert "ceph_fsid" in added
    assert sorted(values["accounts_passwords"]) == ["alice", "bob"]
    assert not [path for path in inventory.rglob("*") if path.name.startswith(".secrets")]


def test_a_second_run_changes_nothing(inventory: Path) -> None:
    inventory_secrets.ensure(inventory)
    before = (inventory / inventory_secrets.SECRETS_FILE).read_bytes()
    assert inventory_secrets.ensure(inventory) == []
    assert (inventory / inventory_secrets.SECRETS_FILE).read_bytes() == before


def test_a_new_researcher_gets_a_password_and_nobody_another_one(inventory: Path) -> None:
    inventory_secrets.ensure(inventory)
    before = opened(inventory)
    (inventory / "group_vars/all/people.yml").write_text(USERS + "  - {name: carol, uid: 2003}\n")
    assert inventory_secrets.ensure(inventory) == ["accounts_passwords.carol"]
    after = opened(inventory)
    assert after["accounts_passwords"].pop("carol")  # type: ignore[attr-defined]
    assert after == before


def test_no_secret_is_shown(inventory: Path) -> None:
    shown = CliRunner().invoke(inventory_secrets.secrets, [str(inventory)])
    assert shown.exit_code == 0
    values = opened(inventory)
    passwords = values.pop("accounts_passwords")
    for value in [*values.values(), *passwords.values()]:  # type: ignore[attr-defined]
        assert str(value) not in shown.output
    assert "accounts_passwords.alice" in shown.output


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda site: (site / ".vault-password").unlink(), "restore the password"),
        (lambda site: (site / ".vault-password").write_text("another"), "does not open with the password"),
        (lambda site: (site / inventory_secrets.SECRETS_FILE).write_text("ceph_fsid: plain"), "is not encrypted"),
        (lambda site: (site / "group_vars/all/people.yml").write_text("a: [b"), "is no YAML"),
    ],
)
def test_what_cannot_be_read_is_left_alone(inventory: Path, spoil: object, said: str) -> None:
    inventory_secrets.ensure(inventory)
    spoil(inventory)  # type: ignore[operator]
    before = {path: path.read_bytes() for path in inventory.rglob("*") if path.is_file()}
    with pytest.raises(inventory_secrets.SecretsError, match=said):
        inventory_secrets.ensure(inventory)
    assert {path: path.read_bytes() for path in inventory.rglob("*") if path.is_file()} == before


def test_no_inventory_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(inventory_secrets.SecretsError, match="inventories/rack"):
        inventory_secrets.ensure(tmp_path / "none")


def test_a_ceph_key_is_of_the_cipher_that_the_floor_brings() -> None:
    raw = base64.b64decode(inventory_secrets.cephx_key())
    kind, _, nanoseconds, length = struct.unpack("<HIIH", raw[:12])
    assert (kind, nanoseconds, length, len(raw)) == (2, 0, 32, 44)
    assert inventory_secrets.cephx_key() != inventory_secrets.cephx_key()


def renew(inventory: Path, *names: str) -> Result:
    words = [word for name in names for word in ("--renew", name)]
    return CliRunner().invoke(inventory_secrets.secrets, [str(inventory), *words])


def test_what_is_renewed_is_new_and_the_rest_stays(inventory: Path) -> None:
    inventory_secrets.ensure(inventory)
    before = opened(inventory)
    done = renew(inventory, "jupyterhub_proxy_token", "certificates_ca_key", "accounts_passwords.alice")
    assert done.exit_code == 0, done.output
    after = opened(inventory)
    changed = {name for name in before if before[name] != after[name]}
    # The authority's certificate goes with its key.
    assert changed == {
        "jupyterhub_proxy_token",
        "certificates_ca_key",
        "certificates_ca_certificate",
        "accounts_passwords",
    }
    passwords: list[Any] = [before["accounts_passwords"], after["accounts_passwords"]]
    assert {name for name in passwords[0] if passwords[0][name] != passwords[1][name]} == {"alice"}
    assert "playbooks/secrets.yml" in done.output
    assert "playbooks/researchers.yml" in done.output
    assert str(after["jupyterhub_proxy_token"]) not in done.output


@pytest.mark.parametrize(
    "name", ["ceph_fsid", "ceph_mon_key", "nothing", "accounts_passwords", "accounts_passwords.zoe", "ceph_admin_key.x"]
)
def test_what_cannot_be_renewed_changes_nothing(inventory: Path, name: str) -> None:
    inventory_secrets.ensure(inventory)
    before = opened(inventory)
    done = renew(inventory, "jupyterhub_proxy_token", name)
    assert done.exit_code == 1
    assert name in done.output
    assert "Way out: choose among" in done.output
    assert opened(inventory) == before
