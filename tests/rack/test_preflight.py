"""The preflight on real machines: a sound inventory passes, the worst one is told all that is wrong with it at once."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from appliance.rack.lifecycle import ssh_command
from appliance.rack.model import existing

PROJECT = Path(__file__).parents[2]
INVENTORY = PROJECT / "inventories/rack"
RACK = existing(os.environ.get("APPLIANCE_RACK", "rack"))
MACHINES = ("head1", "store1", "store2", "store3")


def preflight(inventory: Path, *options: str) -> tuple[int, str]:
    """Run the playbook on ``inventory``; return its exit code and what it said."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, *options, "playbooks/preflight.yml"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_CONFIG": "ansible.cfg"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr


def ask(machine: str, command: str) -> str:
    return subprocess.run([*ssh_command(RACK, machine), command], capture_output=True, text=True, check=True).stdout


def changes(since: dict[str, str]) -> dict[str, str]:
    """Return, for each machine, the files of system and settings that were written since its clock showed ``since``."""
    paths = "/etc /usr /opt /root/.ssh /var/lib/dpkg"
    return {
        machine: ask(machine, f"find {paths} -xdev -type f -newermt '@{seconds}'") for machine, seconds in since.items()
    }


@pytest.fixture
def worst(tmp_path: Path) -> Path:
    """A copy of the rack's inventory with six things wrong in it."""
    inventory = tmp_path / "worst"
    shutil.copytree(INVENTORY, inventory)
    groups = (inventory / "groups.yml").read_text()
    storage = "hosts:\n        store1:\n        store2:"
    inventory.joinpath("groups.yml").write_text(re.sub(r"children:\n        storage:", storage, groups))
    inventory.joinpath("more.yml").write_text("ungrouped:\n  hosts:\n    store_9: {machine_address: 127.0.0.1}\n")
    main = inventory / "group_vars/all/main.yml"
    main.write_text(re.sub(r"(?m)^site_name:.*$", "", main.read_text()))
    (inventory / "group_vars/all/accounts.yml").write_text("accounts_users:\n  - {name: carol, uid: 2001}\n")
    (inventory / "host_vars").mkdir()
    # Disks of the cluster that runs: for an inventory of another cluster they hold somebody else's data.
    (inventory / "host_vars/store1.yml").write_text("ceph_fsid: 00000000-0000-4000-8000-000000000000\n")
    (inventory / "host_vars/store2.yml").write_text("ceph_fsid: 00000000-0000-4000-8000-000000000000\n")
    (inventory / "host_vars/head1.yml").write_text("ceph_fsid: 00000000-0000-4000-8000-000000000000\n")
    return inventory


@pytest.mark.parametrize("mode", [(), ("--check",)], ids=["for real", "check"])
def test_the_facility_passes_its_own_preflight(mode: tuple[str, ...]) -> None:
    code, said = preflight(INVENTORY, *mode)
    assert code == 0, said
    assert not re.search(r"changed=[1-9]", said), said


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_changed(worst: Path) -> None:
    since = {machine: ask(machine, "date +%s.%N").strip() for machine in MACHINES}
    code, said = preflight(worst)
    assert code != 0
    assert "nothing was changed" in said, said
    table = said[said.index("faults; nothing was changed") :]
    for variable, value in (
        ("groups.ceph_osd", "2 hosts: store1, store2"),
        ("groups.ceph_mon", "2 hosts: store1, store2"),
        ("inventory_hostname", "store_9"),
        ("site_name", "(missing)"),
        ("accounts_users.uid", "2001 (carol)"),
        ("accounts_passwords.carol", "(missing)"),
        ("ceph_osd_devices", "holds an OSD"),
        ("ansible_host", "store_9: "),
    ):
        assert re.search(rf"(?m)^\s*{re.escape(variable)}\s+.*{re.escape(value)}", table), f"{variable}:\n{table}"
    assert "taken by alice" in re.sub(r"\s+", " ", table)
    assert not re.search(r"changed=[1-9]", said)
    assert changes(since) == dict.fromkeys(MACHINES, "")


@pytest.fixture
def gather() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gather", PROJECT / "roles/preflight/files/gather.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 64 MiB."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    made = subprocess.run(
        ["losetup", "--find", "--show", "--partscan", image], capture_output=True, text=True, check=True
    )
    device = Path(made.stdout.strip())
    yield device
    subprocess.run(["losetup", "--detach", device], check=True)


def seen(gather: ModuleType, disk: Path) -> dict[str, Any]:
    facts: dict[str, Any] = gather.disk(str(disk))
    return {name: facts[name] for name in ("signatures", "dirty", "osd_fsid", "mounts")}


def test_an_empty_disk_is_seen_as_empty(gather: ModuleType, disk: Path) -> None:
    assert seen(gather, disk) == {"signatures": [], "dirty": False, "osd_fsid": None, "mounts": []}


def test_a_file_system_is_seen(gather: ModuleType, disk: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    assert seen(gather, disk)["signatures"] == ["ext4"]


def test_a_partition_table_is_seen(gather: ModuleType, disk: Path) -> None:
    entry = bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (100_000).to_bytes(4, "little")
    with disk.open("r+b") as file:
        file.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
    assert seen(gather, disk)["signatures"] == ["dos"]


def test_bytes_that_no_tool_knows_are_seen(gather: ModuleType, disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(70_000)
        file.write(b"somebody's data")
    assert seen(gather, disk) == {"signatures": [], "dirty": True, "osd_fsid": None, "mounts": []}
