"""How a machine's processes get into their cgroups, and how it is started again when it reboots."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance.rack import cgroups


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a machine's group in a folder that stands for a hierarchy: joining one is writing a file in both."""
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path / "a b", tmp_path / "c"])
    for hierarchy in ("a b", "c"):
        for part in (cgroups.KEEPER, cgroups.MACHINE):
            (tmp_path / hierarchy / cgroups.folder_name("t9-s1") / part).mkdir(parents=True)
    return tmp_path / "c" / cgroups.folder_name("t9-s1")


def keep(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(cgroups.keeper("t9-s1", command), capture_output=True, text=True, timeout=10)


@pytest.mark.usefixtures("group")
def test_a_machine_that_reboots_is_started_again_and_one_that_ends_is_not(tmp_path: Path) -> None:
    boot = f"echo boot >>{tmp_path}/boots; [ $(wc -l <{tmp_path}/boots) -eq 3 ] && exit 7; exit {cgroups.REBOOT_CODE}"
    assert keep("sh", "-c", boot).returncode == 7
    assert (tmp_path / "boots").read_text() == "boot\n" * 3


def test_keeper_and_machine_join_a_group_of_their_own_in_every_hierarchy(group: Path) -> None:
    done = keep("sh", "-c", "echo $$")
    machine = (group / cgroups.MACHINE / "cgroup.procs").read_text()
    assert done.stdout == machine
    keeper = (group / cgroups.KEEPER / "cgroup.procs").read_text()
    assert keeper != machine
    other = group.parent.parent / "a b" / group.name
    assert (other / cgroups.MACHINE / "cgroup.procs").read_text() == machine
    assert (other / cgroups.KEEPER / "cgroup.procs").read_text() == keeper


def test_a_machine_outside_its_group_is_not_started(group: Path, tmp_path: Path) -> None:
    (group / cgroups.MACHINE).rmdir()
    assert keep("touch", str(tmp_path / "started")).returncode == 1
    assert not (tmp_path / "started").exists()


def test_limits_are_told_in_the_words_of_both_versions() -> None:
    told = cgroups.limits(2**30, 1.5)
    assert told["memory.limit_in_bytes"] == told["memory.max"] == "1073741824"
    assert told["cpu.cfs_quota_us"] == "150000"
    assert told["cpu.max"] == "150000 100000"
    assert cgroups.limits(None, None) == {}


@pytest.mark.parametrize("setting", ["cpu.cfs_quota_us", "cpu.max"])
def test_a_running_machine_is_made_slow_and_fast_again(group: Path, setting: str) -> None:
    (group / setting).write_text("as it was")
    assert cgroups.set_cpus("t9-s1", 0.3)
    assert (group / setting).read_text() == cgroups.limits(None, 0.3)[setting]
    assert cgroups.set_cpus("t9-s1", None)
    assert (group / setting).read_text() == {"cpu.cfs_quota_us": "-1", "cpu.max": "max 100000"}[setting]


@pytest.mark.usefixtures("group")
def test_a_machine_without_a_processor_limit_to_set_is_told() -> None:
    assert not cgroups.set_cpus("t9-s1", 0.3)
