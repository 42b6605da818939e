"""The preflight on real machines: a sound inventory passes, the worst one is told all that is wrong with it at once."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from machines import MACHINES, RACK, ask

from appliance.demo.facility import Facility

PROJECT = Path(__file__).parents[2]
INVENTORY = PROJECT / "inventories/rack"


def preflight(inventory: Path, *options: str) -> tuple[int, str]:
    """Run the playbook on ``inventory``; return its exit code and what it said."""
    facility = Facility(RACK.name, inventory)
    command = ["ansible-playbook", *options, "playbooks/preflight.yml"]
    environment = facility.environment | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr


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
    inventory.joinpath("groups.yml").write_text(re.sub(r"children:\n        (storage|monitors):", storage, groups))
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
        ("ceph_osd_devices", "holds osd."),
        ("ansible_host", "store_9: "),
    ):
        assert re.search(rf"(?m)^\s*{re.escape(variable)}\s+.*{re.escape(value)}", table), f"{variable}:\n{table}"
    assert "taken by alice" in re.sub(r"\s+", " ", table)
    assert not re.search(r"changed=[1-9]", said)
    assert changes(since) == dict.fromkeys(MACHINES, "")
