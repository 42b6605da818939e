"""How OSDs are made: one run at a time, noted for the boot, and emptied in an order that can be interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.disk_contents import State, Verdict

import ceph_osd_disks
import ceph_osd_purge_new

KIB = 1024


def test_the_boot_note_is_written_once(tmp_path: Path) -> None:
    notes = tmp_path / "osd"
    assert ceph_osd_disks.remember(notes, "7", "/dev/disk/by-id/a", True)
    assert not notes.exists()
    assert ceph_osd_disks.remember(notes, "7", "/dev/disk/by-id/a", False)
    assert (notes / "7.conf").read_text() == "DEVICE=/dev/disk/by-id/a\n"
    assert not ceph_osd_disks.remember(notes, "7", "/dev/disk/by-id/a", False)


def test_both_ends_are_emptied_and_the_label_stays_to_be_found_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x" * (256 * KIB))
    ceph_osd_disks.zero_edges(disk, edge=64 * KIB)
    content = disk.read_bytes()
    assert len(content) == 256 * KIB
    assert content[: 4 * KIB] == b"x" * 4 * KIB
    assert not any(content[4 * KIB : 64 * KIB])
    assert content[64 * KIB : 192 * KIB] == b"x" * 128 * KIB
    assert not any(content[192 * KIB :])


def test_a_disk_smaller_than_its_ends_is_emptied_but_for_the_label(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x" * (16 * KIB))
    ceph_osd_disks.zero_edges(disk)
    assert disk.read_bytes() == b"x" * 4 * KIB + bytes(12 * KIB)


def test_a_program_that_was_handed_the_lock_keeps_it_when_its_starter_is_gone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    waits = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    with ceph_osd_disks.making_lock(lock, 0) as handle:
        program = subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[handle])
    assert program.stdout is not None
    assert program.stdout.readline() == b"up\n"
    with pytest.raises(TimeoutError, match="another run still makes OSDs"), ceph_osd_disks.making_lock(lock, 0):
        pass
    program.communicate()
    with ceph_osd_disks.making_lock(lock, 0):
        pass


def test_directories_of_interrupted_makings_are_known_with_and_without_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, other = tmp_path / "disk", tmp_path / "other"
    notes, directories = tmp_path / "notes", tmp_path / "osd"
    for osd in ("interrupted", "nameless", "starting", "running", "packaged"):
        (directories / f"ceph-{osd}").mkdir(parents=True)
    (directories / "ceph-interrupted/block").symlink_to(disk)
    (directories / "ceph-running/block").symlink_to(other)
    for osd in ("starting", "running"):
        ceph_osd_disks.remember(notes, osd, str(other), False)
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name != "ceph-packaged")
    left = ceph_osd_disks.left_directories(str(disk), notes, directories)
    assert [directory.name for directory in left] == ["ceph-interrupted", "ceph-nameless"]


def test_a_disk_that_something_works_on_is_looked_at_again() -> None:
    looks = iter([State.MAKING, State.MAKING, State.FINISHED, State.EMPTY])
    assert ceph_osd_disks.settled_survey(lambda: {"a": Verdict(next(looks))}) == {"a": Verdict(State.FINISHED)}


def test_the_wait_for_what_works_on_a_disk_ends() -> None:
    assert ceph_osd_disks.settled_survey(lambda: {"a": Verdict(State.MAKING)}, seconds=0)["a"].state is State.MAKING


def test_only_numbers_that_no_disk_holds_and_that_never_started_are_purged() -> None:
    new = {"state": ["exists", "new"], "up": 0, "up_from": 0}
    osds = [
        {"osd": 0, "uuid": "runs", "state": ["exists", "up"], "up": 1, "up_from": 9},
        {"osd": 1, "uuid": "is down", "state": ["exists"], "up": 0, "up_from": 9},
        {"osd": 2, "uuid": "is on a disk", **new},
        {"osd": 3, "uuid": "is nowhere", **new},
    ]
    assert ceph_osd_purge_new.leftovers(osds, ["is on a disk"]) == [3]
