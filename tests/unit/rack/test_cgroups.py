"""How a machine's processes get into their cgroups, and how it is started again when it reboots."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from waiting import STUCK, until

from appliance.rack import cgroups

PROJECT = Path(cgroups.__file__).parents[2]


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a machine's group in a folder that stands for a hierarchy: joining one is writing a file in both."""
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path / "a b", tmp_path / "c"])
    for hierarchy in ("a b", "c"):
        for part in (cgroups.SUPERVISOR, cgroups.MACHINE):
            (tmp_path / hierarchy / cgroups.folder_name("t9-s1") / part).mkdir(parents=True)
    return tmp_path / "c" / cgroups.folder_name("t9-s1")


def keep(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(cgroups.supervisor("t9-s1", command), capture_output=True, text=True, timeout=10)


@pytest.mark.usefixtures("group")
def test_a_machine_that_reboots_is_started_again_and_one_that_ends_is_not(tmp_path: Path) -> None:
    boot = f"echo boot >>{tmp_path}/boots; [ $(wc -l <{tmp_path}/boots) -eq 3 ] && exit 7; exit {cgroups.REBOOT_CODE}"
    assert keep("sh", "-c", boot).returncode == 7
    assert (tmp_path / "boots").read_text() == "boot\n" * 3


def test_supervisor_and_machine_join_a_group_of_their_own_in_every_hierarchy(group: Path) -> None:
    done = keep("sh", "-c", "echo $$")
    machine = (group / cgroups.MACHINE / "cgroup.procs").read_text()
    assert done.stdout == machine
    supervisor = (group / cgroups.SUPERVISOR / "cgroup.procs").read_text()
    assert supervisor != machine
    other = group.parent.parent / "a b" / group.name
    assert (other / cgroups.MACHINE / "cgroup.procs").read_text() == machine
    assert (other / cgroups.SUPERVISOR / "cgroup.procs").read_text() == supervisor


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
        for state in (frozen, thawed, frozen):
            until(lambda state=state: (group / name).read_text() == state)
    assert (group / name).read_text() == thawed


def test_a_machine_thaws_when_who_slowed_it_is_killed(group: Path) -> None:
    state = group / "freezer.state"
    state.write_text("THAWED")
    code = "import sys; from appliance.rack import cgroups; from pathlib import Path\n"
    code += "cgroups.groups = lambda unit: [Path(sys.argv[1])]\n"
    code += "with cgroups.slowed('t9-s1', 0.05):\n print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(group)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as slowing:
        assert slowing.stdout
        slowing.stdout.readline()
        (freezing,) = psutil.Process(slowing.pid).children()
        until(lambda: state.read_text() == "FROZEN")
        slowing.kill()
    assert psutil.wait_procs([freezing], timeout=STUCK)[1] == []
    assert state.read_text() == "THAWED"


@pytest.mark.usefixtures("group")
def test_a_machine_that_is_off_is_not_slowed() -> None:
    with pytest.raises(FileNotFoundError, match="off"), cgroups.slowed("t9-s1", 0.5):
        pass
