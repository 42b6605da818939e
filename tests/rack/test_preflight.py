"""The preflight on real machines: a sound inventory passes, the worst one is told all that is wrong with it at once."""

from __future__ import annotations

import itertools
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


def faults_told(said: str) -> dict[str, str]:
    """Return, for each variable in the table, the words of its other cells, wherever the columns fold them."""
    # Ansible shows the table a second time, further in, after it has said where the task stands.
    lines = said.partition("faults; nothing was changed")[2].partition("Origin:")[0].splitlines()
    header = next(line for line in lines if re.match(r"\s+variable\s+value\s+where\s+fix", line))
    starts = [header.index(name) for name in ("variable", "value", "where", "fix")]
    found: dict[str, str] = {}
    cells = ["", "", "", ""]
    for line in lines[lines.index(header) + 1 :]:
        if "───" in line:
            found[cells[0]] = "|".join(cells[1:])
            cells = ["", "", "", ""]
            continue
        pieces = [line[start:end].strip() for start, end in itertools.pairwise([*starts, None])]
        # A name has no blank that a fold could stand for.
        cells = [
            cells[0] + pieces[0],
            *(f"{cell} {piece}".strip() for cell, piece in zip(cells[1:], pieces[1:], strict=True)),
        ]
    found.pop("", None)
    return found


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


@pytest.fixture
def unreal(tmp_path: Path) -> Path:
    """A copy of the rack's inventory with values that only the machines and the Ceph that is installed can judge."""
    inventory = tmp_path / "unreal"
    shutil.copytree(INVENTORY, inventory)
    (inventory / "group_vars/all/unreal.yml").write_text(
        "ceph_mon_settings:\n"
        "  mon: {mon_data_avail_warn: 5, mon_data_avail_crit: 2}\n"
        "  osd: {osd_mclock_skip_benchmark: true, osd_memry_target: 5, osd_max_backfills: many}\n"
        "ceph_rgw_settings: {rgw_frontend_portt: 1}\n"
        "node_base_packages: [curl, nosuchpackage]\n"
        "node_base_time_servers: [192.0.2.99]\n"
        "node_base_apt_security_uri: http://{{ rack_gateway }}:3142/nosuch\n"
        "ceph_osd_memory_target: 1000000000000\n"
        "site_name: '{{ 1 / 0 }}'\n"
    )
    storage = inventory / "group_vars/all/storage.yml"
    kept = re.sub(r"(?ms)^ceph_mon_settings:.*|^ceph_osd_memory_target:.*?$", "", storage.read_text())
    storage.write_text(kept + "\nceph_rgw_data_size: 2\n")
    return inventory


def test_what_only_machines_and_ceph_know_is_said_too(unreal: Path) -> None:
    since = {machine: ask(machine, "date +%s.%N").strip() for machine in MACHINES}
    code, said = preflight(unreal)
    assert code != 0
    faults = faults_told(said)
    for variable, words in (
        ("ceph_mon_settings.osd.osd_memry_target", "write osd_memory_target"),
        ("ceph_mon_settings.osd.osd_max_backfills", "many"),
        ("ceph_rgw_settings.rgw_frontend_portt", "write rgw_frontends"),
        ("node_base_packages", "nosuchpackage"),
        ("node_base_time_servers", "192.0.2.99: no answer within 2 s"),
        ("node_base_apt_security_uri", "HTTP 404"),
        ("ceph_osd_memory_target", "1 OSDs take 931.3 GiB"),
        ("site_name", "(cannot be read)"),
        ("ceph_rgw_data_size", "lines 6 and 16"),
    ):
        assert words in faults.get(variable, ""), f"{variable}:\n{said}"
    # What Ceph does know is right as it stands.
    assert len(faults) == 9, said
    assert "Traceback" not in said
    assert changes(since) == dict.fromkeys(MACHINES, "")


def test_an_odd_inventory_that_is_right_passes(tmp_path: Path) -> None:
    inventory = tmp_path / "odd"
    shutil.copytree(INVENTORY, inventory)
    (inventory / "group_vars/all/odd.yml").write_text(
        "gateway_hub_token: of-an-earlier-release\n"
        "machine_addresses: [\"{{ hostvars['store1'].machine_address }}\"]\n"
        "firewall_machines_networks: '{{ machine_addresses }}'\n"
        "node_base_compute_tasks_max: \"{{ ansible_facts['processor_vcpus'] * 16384 }}\"\n"
        "ceph_osd_up_timeout: '{{ ceph_osd_devices | length * 60 }}'\n"
        "node_base_apt_uri: '{{ depot_url }}/debian/'\n"
    )
    code, said = preflight(inventory)
    assert code == 0, said


def test_an_inventory_of_another_cluster_is_refused_by_the_one_that_answers(tmp_path: Path) -> None:
    inventory = tmp_path / "other"
    shutil.copytree(INVENTORY, inventory)
    other = "00000000-0000-4000-8000-000000000000"
    for machine in MACHINES:
        (inventory / "host_vars" / machine).mkdir(parents=True)
        (inventory / "host_vars" / machine / "other.yml").write_text(f"ceph_fsid: {other}\n")
    code, said = preflight(inventory)
    assert code != 0
    assert re.search(rf"(?m)^\s*ceph_fsid\s+{other[:20]}", said), said
    assert "use that cluster's inventory" in re.sub(r"\s+", " ", said)


def test_a_fault_that_is_accepted_knowingly_is_told_and_stops_nothing() -> None:
    code, said = preflight(INVENTORY)
    assert code == 0, said
    assert "accepted: ceph_rgw_data_min_size = 1 (the site)" in said
