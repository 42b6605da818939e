"""The vault's password reaches ansible however its inventory was named, and its absence is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from appliance import inventory_secrets

PROJECT = Path(__file__).parents[2]
PROGRAM = PROJECT / "inventories/vault-password"
NONE = "no-inventory-with-secrets\n"
# Calls the program as ansible does: as its child, which reads the command line of its parent.
PARENT = f"import subprocess, sys; sys.exit(subprocess.run([{str(PROGRAM)!r}]).returncode)"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An inventory with secrets, in a directory without an ansible.cfg."""
    inventory = tmp_path / "inventories/mine"
    (inventory / "group_vars/all").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all: {hosts: {store1: }}\n")
    inventory_secrets.ensure(inventory)
    (tmp_path / "inventories/bare").mkdir()
    (tmp_path / "more.yml").write_text("all: {vars: {more: 1}}\n")
    return tmp_path


def ask(site: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What the program says to an ansible with ``words`` on its command line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    command = [sys.executable, "-c", PARENT, *words]
    return subprocess.run(
        command,
        cwd=site,
        env=environment | {"HOME": str(site)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def password(site: Path) -> str:
    return (site / "inventories/mine/.vault-password").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["-i", "inventories/mine"],
        ["-iinventories/mine"],
        ["-vvi", "inventories/mine", "site.yml"],
        ["--inventory", "inventories/mine"],
        ["--inventory=inventories/mine/hosts.yml"],
        ["--inventory-file", "inventories/mine"],
        ["-i", "store1,", "-i", "inventories/bare", "-i", "inventories/mine", "-i", "more.yml"],
    ],
)
def test_an_inventory_on_the_command_line_gives_its_password(site: Path, words: list[str]) -> None:
    assert ask(site, *words, ANSIBLE_INVENTORY="inventories/bare").stdout == password(site)


@pytest.mark.parametrize(
    "named", ["inventories/mine", "inventories/mine, more.yml", "more.yml,inventories/mine/hosts.yml"]
)
def test_inventories_in_the_environment_give_their_password(site: Path, named: str) -> None:
    assert ask(site, "site.yml", ANSIBLE_INVENTORY=named).stdout == password(site)


@pytest.mark.parametrize("place", ["ansible.cfg", "settings/ansible.cfg", ".ansible.cfg"])
def test_the_inventory_of_ansibles_own_settings_gives_its_password(site: Path, place: str) -> None:
    path = site / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"[defaults]\ninventory = {os.path.relpath(site, path.parent)}/inventories/mine\n")
    variables = {"ANSIBLE_CONFIG": "settings"} if place.startswith("settings") else {}
    assert ask(site, "site.yml", **variables).stdout == password(site)


@pytest.mark.parametrize(
    "words", [[], ["--syntax-check", "site.yml"], ["-i", "inventories/bare"], ["-i", "localhost,"]]
)
def test_a_command_without_secrets_goes_on(site: Path, words: list[str]) -> None:
    done = ask(site, *words)
    assert (done.returncode, done.stdout) == (0, NONE)


@pytest.mark.parametrize("words", [["-i", "inventories/mine"], []])
def test_secrets_whose_password_is_missing_are_said(site: Path, words: list[str]) -> None:
    (site / "inventories/mine/.vault-password").unlink()
    done = ask(site, *words, ANSIBLE_INVENTORY="inventories/mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert "inventories/mine/group_vars/all/secrets.yml is encrypted" in done.stderr
    assert "inventories/mine/.vault-password, is not there" in done.stderr
    assert "appliance secrets inventories/mine" in done.stderr


def test_a_password_that_is_another_is_said(site: Path) -> None:
    (site / "inventories/mine/.vault-password").write_text("another\n")
    done = ask(site, "-i", "inventories/mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert "secrets.yml is encrypted with another password than that of inventories/mine/.vault-password" in done.stderr


def test_a_file_beside_those_that_it_opens_may_have_another(site: Path) -> None:
    other = site / "inventories/mine/group_vars/all/other.yml"
    theirs = VaultLib([("default", VaultSecret(b"theirs"))]).encrypt("more: 1\n")
    other.write_bytes(theirs)
    done = ask(site, "-i", "inventories/mine")
    assert (done.returncode, done.stdout) == (0, password(site))


def test_a_file_that_has_a_vault_id_may_have_a_password_of_its_own(site: Path) -> None:
    secrets = (site / "inventories/mine/group_vars/all/secrets.yml").read_text()
    labelled = secrets.replace("$ANSIBLE_VAULT;1.1;AES256", "$ANSIBLE_VAULT;1.2;AES256;other")
    assert labelled != secrets
    (site / "inventories/mine/group_vars/all/secrets.yml").write_text(labelled)
    (site / "inventories/mine/.vault-password").write_text("another\n")
    assert ask(site, "-i", "inventories/mine").stdout == "another\n"


def listed(site: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("ansible-inventory"), "--list"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        command, cwd=site, env=environment | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")} | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_ansible_reads_the_secrets_of_the_inventory_in_its_environment(site: Path) -> None:
    done = listed(site, ANSIBLE_INVENTORY="inventories/mine,more.yml")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["_meta"]["hostvars"]["store1"]
    assert found["more"] == 1
    assert len(found["ceph_fsid"]) == 36


def test_ansible_ends_with_the_programs_words_where_the_password_is_missing(site: Path) -> None:
    (site / "inventories/mine/.vault-password").unlink()
    done = listed(site, ANSIBLE_INVENTORY="inventories/mine")
    assert done.returncode != 0
    assert "is not there. Way out: restore the password" in " ".join(done.stderr.split())
