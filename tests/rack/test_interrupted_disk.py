"""The making of an OSD is interrupted at each moment: preflight and role agree, and the next run finishes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import FACILITY, STORES, ask
from site_run import PROGRAMS, PROJECT, PlayRun, ceph, play

HOST = STORES[0]
ROLE = "- hosts: ceph_osd\n  become: true\n  roles: [ceph_osd]\n"
PREPARE = "ceph-volume --log-level warning raw prepare --bluestore --data"
# Takes away the directories (in memory) of OSDs on the given devices.
DROP_DIRECTORIES = r"""set -e
drop() {
  for block in /var/lib/ceph/osd/ceph-*/block; do
    for device in "$@"; do
      if [ "$(readlink -f "$block")" = "$device" ]; then umount "${block%/block}"; rmdir "${block%/block}"; fi
    done
  done
}
drop"""
# Ends ceph-volume as soon as it has its number and a directory for it; the disk is untouched then. The directory's link
# to the disk is taken away where there was time to make it: a moment earlier it is not there.
END_AT_NUMBER = """
import subprocess, sys
from pathlib import Path
def directories():
    with open("/proc/mounts") as mounts:
        return {line.split()[1] for line in mounts if "/osd/ceph-" in line}
known = directories()
program = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while not (made := directories() - known):
    assert program.poll() is None, "ceph-volume ended by itself"
program.kill()
program.wait()
Path(made.pop(), "block").unlink(missing_ok=True)
"""


def inventory_devices() -> dict[str, list[str]]:
    """The inventory's disks by storage host."""
    command = [str(PROGRAMS / "ansible-inventory"), "--list"]
    done = subprocess.run(command, cwd=PROJECT, env=FACILITY.environment, capture_output=True, text=True, check=True)
    hostvars = json.loads(done.stdout)["_meta"]["hostvars"]
    return {host: hostvars[host]["ceph_osd_devices"] for host in STORES}


def osds() -> dict[str, dict[str, Any]]:
    """The monitors' OSDs by uuid."""
    return {osd["uuid"]: osd for osd in ceph("osd", "dump")["osds"]}


def directories() -> str:
    """What is mounted for OSDs on the first storage host."""
    return ask(HOST, "grep -o '/var/lib/ceph/osd/[^ ]*' /proc/mounts | sort")


def label(disk: str) -> dict[str, Any]:
    """What Ceph itself reads in a disk's label; empty where there is none."""
    said = ask(HOST, f"ceph-bluestore-tool show-label --dev {disk} 2>/dev/null", check=False)
    return dict(json.loads(said)[disk]) if said.strip() else {}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Adds empty disks of 3 GiB to the first storage host; what became of them is taken away in the end."""
    before, mounted, loops, names = osds(), directories(), [], []
    # OSDs that are to be taken away again get no data.
    ask(HOST, "ceph config set osd osd_crush_initial_weight 0")

    def add() -> str:
        backing = tmp_path / f"disk{len(loops)}"
        backing.touch()
        os.truncate(backing, 3 << 30)
        found = subprocess.run(["losetup", "--find", "--show", backing], capture_output=True, text=True, check=True)
        loops.append(found.stdout.strip())
        number = loops[-1].removeprefix("/dev/loop")
        names.append(f"/dev/disk/by-id/spare-{uuid.uuid4()}")
        ask(HOST, f"test -e {loops[-1]} || mknod {loops[-1]} b 7 {number}; ln -s {loops[-1]} {names[-1]}")
        return names[-1]

    yield add
    for osd in [osd["osd"] for name, osd in osds().items() if name not in before]:
        ask(HOST, f"systemctl disable --now ceph-osd@{osd} appliance-osd-activate@{osd} 2>&1")
        ask(HOST, f"rm -f /etc/appliance/osd/{osd}.conf; ceph osd down {osd} 2>&1")
        ask(HOST, f"ceph osd purge {osd} --yes-i-really-mean-it 2>&1")
    ask(HOST, "ceph config rm osd osd_crush_initial_weight")
    ask(HOST, f"{DROP_DIRECTORIES} {' '.join(loops)}")
    for loop, name in zip(loops, names, strict=True):
        ask(HOST, f"rm {name} {loop}")
        subprocess.run(["losetup", "--detach", loop], check=True)
    assert osds().keys() == before.keys()
    assert directories() == mounted


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A playbook that runs the role ceph_osd and nothing else."""
    playbook = tmp_path / "osd.yml"
    playbook.write_text(ROLE)
    return playbook


def run(playbook: Path | str, *spare: str) -> PlayRun:
    """Run a playbook with further disks on the first storage host."""
    devices = inventory_devices()
    devices[HOST] += spare
    return play(str(playbook), ceph_osd_devices="{{ " + json.dumps(devices) + "[inventory_hostname] }}")


def number_only(disk: str) -> None:
    """The monitors gave a number, and nothing reached the disk."""
    ask(HOST, f"python3 - {PREPARE} {disk}", given=END_AT_NUMBER)
    assert label(disk) == {}


def never_started(disk: str) -> None:
    """All was done but to start the OSD."""
    ask(HOST, f"{PREPARE} {disk} 2>&1")
    assert label(disk)["ready"] == "ready"


def not_ready(disk: str) -> None:
    """The last entry of the label is missing."""
    never_started(disk)
    ask(HOST, f"ceph-bluestore-tool rm-label-key --key ready --dev {disk}")
    assert "ready" not in label(disk)


def no_identity(disk: str) -> None:
    """BlueStore made its own part, and the OSD had not yet written whose it is."""
    not_ready(disk)
    for key in ("osd_key", "ceph_fsid", "whoami", "magic"):
        ask(HOST, f"ceph-bluestore-tool rm-label-key --key {key} --dev {disk}")
    assert "ceph_fsid" not in label(disk)


def test_the_next_run_finishes_what_was_interrupted(disk: Callable[[], str], role: Path) -> None:
    before = osds()
    disks = {moment: disk() for moment in (number_only, never_started, not_ready, no_identity)}
    for moment, name in disks.items():
        moment(name)
    left = [osd for name, osd in osds().items() if name not in before]
    assert [osd["state"] for osd in left] == [["exists", "new"]] * 4
    looked = run("preflight.yml", *disks.values())
    assert looked.status == 0, looked.said
    made = run(role, *disks.values())
    assert made.status == 0, made.said
    now = osds()
    assert len(now) == len(before) + 4
    assert [osd["state"] for osd in now.values()] == [["exists", "up"]] * len(now)
    assert {label(name)["osd_uuid"] for name in disks.values()} == now.keys() - before.keys()
    again = run(role, *disks.values())
    assert (again.status, sum(again.changed.values())) == (0, 0), again.said


def test_what_may_hold_data_is_refused_by_both_and_not_touched(disk: Callable[[], str], role: Path) -> None:
    was_up, unknown = disk(), disk()
    before = osds()
    assert run(role, was_up).status == 0
    (osd,) = (entry["osd"] for name, entry in osds().items() if name not in before)
    ask(HOST, f"systemctl stop ceph-osd@{osd}; ceph-bluestore-tool rm-label-key --key ready --dev {was_up}")
    not_ready(unknown)
    ask(HOST, f"ceph osd purge-new {label(unknown)['whoami']} --yes-i-really-mean-it 2>&1")
    contents = [ask(HOST, f"sha256sum {name}") for name in (was_up, unknown)]
    for playbook in ("preflight.yml", role):
        refused = run(playbook, was_up, unknown)
        assert refused.status != 0
        # The preflight's table breaks lines between words.
        assert f"osd.{osd} has been up" in refused.said
        assert "know it" in refused.said
    assert [ask(HOST, f"sha256sum {name}") for name in (was_up, unknown)] == contents


def started(playbook: Path, spare: str) -> subprocess.Popen[str]:
    """A run of a playbook, as `run` makes it, that can be killed."""
    devices = inventory_devices()
    devices[HOST].append(spare)
    variables = json.dumps({"ceph_osd_devices": "{{ " + json.dumps(devices) + "[inventory_hostname] }}"})
    command = [str(PROGRAMS / "ansible-playbook"), str(playbook), "--extra-vars", variables]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=FACILITY.environment,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.long
def test_a_run_that_follows_a_killed_one_waits_for_what_goes_on_alone(disk: Callable[[], str], role: Path) -> None:
    name, before = disk(), osds()
    first = started(role, name)
    while not (program := ask(HOST, f"pgrep -of 'ceph-volume.* raw prepare .*{name}$'", check=False).strip()):
        assert first.poll() is None, first.communicate()[0]
    # The play on the control host, and the module on the machine: ceph-volume has lost all that started it. It is held
    # until the next run is there.
    ask(HOST, f"kill -STOP {program}; kill -KILL $(ps -o ppid= -p {program})")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    held = osds()
    second = started(role, name)
    while int(ask(HOST, "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c 'appliance-osd[.]lock$'", check=False)) < 2:
        assert second.poll() is None, second.communicate()[0]
    # A run that does not wait needs half of this to make an OSD of its own.
    time.sleep(10)
    assert osds().keys() == held.keys()
    ask(HOST, f"kill -CONT {program}")
    said = second.communicate()[0]
    assert second.returncode == 0, said
    (osd,) = (osd for osd_uuid, osd in osds().items() if osd_uuid not in before)
    assert (osd["uuid"], osd["state"]) == (label(name)["osd_uuid"], ["exists", "up"])
