"""How a machine's processes get into their cgroups, and how it is started again when it reboots."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.rack import cgroups

PROJECT = Path(cgroups.__file__).parents[2]


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


@pytest.mark.parametrize("name", list(cgroups.FREEZING))
def test_a_slow_machine_is_frozen_now_and_then_and_never_left_so(group: Path, name: str) -> None:
    frozen, thawed = cgroups.FREEZING[name]
    (group / name).write_text(thawed)
    with cgroups.slowed("t9-s1", 0.5):
        deadline = time.monotonic() + 30
        for state in (frozen, thawed, frozen):
            while (group / name).read_text() != state:
                assert time.monotonic() < deadline
    assert (group / name).read_text() == thawed


def test_a_machine_thaws_when_who_slowed_it_is_killed(group: Path) -> None:
    state = group / "freezer.state"
    state.write_text("THAWED")
    code = "import os, sys, time; from appliance.rack import cgroups; from pathlib import Path\n"
    code += "cgroups.groups = lambda unit: [Path(sys.argv[1])]\n"
    code += "with cgroups.slowed('t9-s1', 0.05):\n print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(group)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(PROJECT)}) as slowing:
        assert slowing.stdout
        slowing.stdout.readline()
        deadline = time.monotonic() + 30
        while state.read_text() != "FROZEN":
            assert time.monotonic() < deadline
        slowing.kill()
    seen = time.monotonic()
    while time.monotonic() < seen + 3 * cgroups.TURN:  # through several turns, in the last of which it stays thawed
        if state.read_text() == "FROZEN":
            seen = time.monotonic()
            assert seen < deadline
    assert state.read_text() == "THAWED"


@pytest.mark.usefixtures("group")
def test_a_machine_that_is_off_is_not_slowed() -> None:
    with pytest.raises(FileNotFoundError, match="off"), cgroups.slowed("t9-s1", 0.5):
        pass
