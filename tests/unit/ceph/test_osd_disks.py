"""What is on a disk, and which disks may become OSDs. Disks are files here: the bytes are what counts."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

FSID = "3f1c9d1e-0f5b-4f0e-9f43-0d5f6a7b8c9d"
OTHER = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def disks(module: Callable[[str, str], ModuleType]) -> ModuleType:
    return module("ceph_modules", "ceph_osd_disks")


def encoded(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def label(fsid: str = FSID, osd_id: str = "7", ready: str = "ready") -> bytes:
    """A disk's first 4096 bytes as BlueStore writes them (`bluestore_bdev_label_t::encode`, version 2)."""
    osd = uuid.UUID("c0ffee00-0000-4000-8000-000000000007")
    meta = {"bluefs": "1", "ceph_fsid": fsid, "whoami": osd_id, "ready": ready}
    body = osd.bytes + struct.pack("<Q", 1 << 34) + bytes(8) + encoded("main") + struct.pack("<I", len(meta))
    body += b"".join(encoded(name) + encoded(value) for name, value in meta.items())
    head = b"bluestore block device\n" + str(osd).encode() + b"\n"
    return (head + bytes([2, 1]) + struct.pack("<I", len(body)) + body).ljust(4096, b"\0")


def test_an_osd_of_this_cluster_is_recognised(disks: ModuleType) -> None:
    found = disks.parse_label(label())
    assert (found.fsid, found.osd_id, found.finished) == (FSID, "7", True)
    assert found.osd_uuid == "c0ffee00-0000-4000-8000-000000000007"
    assert disks.verdict("/dev/disk/by-id/a", found, FSID) == ""


def test_another_clusters_osd_is_refused_by_name(disks: ModuleType) -> None:
    fault = disks.verdict("/dev/disk/by-id/a", disks.parse_label(label(fsid=OTHER)), FSID)
    assert "osd.7 of another cluster" in fault
    assert OTHER in fault


def test_an_osd_that_was_never_finished_is_refused(disks: ModuleType) -> None:
    assert "interrupted" in disks.verdict("/dev/disk/by-id/a", disks.parse_label(label(ready="")), FSID)


def test_no_bluestore_is_no_osd(disks: ModuleType) -> None:
    assert disks.parse_label(bytes(4096)) is None
    assert disks.verdict("/dev/disk/by-id/a", None, FSID) == ""


@given(st.integers(61, 200))
def test_a_label_that_is_cut_off_is_damage_and_not_emptiness(disks: ModuleType, kept: int) -> None:
    with pytest.raises(ValueError, match="label ends"):
        disks.parse_label(label()[:kept])


@given(st.binary(max_size=300))
def test_whatever_follows_the_magic_line_is_never_taken_for_a_finished_osd(disks: ModuleType, noise: bytes) -> None:
    try:
        found = disks.parse_label(label()[:60] + noise)
    except ValueError:
        return
    assert disks.verdict("/dev/disk/by-id/a", found, FSID) != ""


def test_data_at_either_end_is_seen(disks: ModuleType, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    size = 4 << 20
    for position, holds in ((0, True), (size - 1, True), (size // 2, False)):
        content = bytearray(size)
        content[position] = 1
        disk.write_bytes(content)
        assert disks.edges_hold_data(disk) is holds


def nothing_known(command: list[str]) -> tuple[int, str, str]:
    raise AssertionError(f"no disk was to be asked, and this was run: {command}")


def test_all_faults_are_told_at_once(disks: ModuleType, tmp_path: Path) -> None:
    _, faults = disks.survey(nothing_known, ["/dev/sdz", "/dev/disk/by-id/there-is-none", str(tmp_path)], FSID)
    assert len(faults) == 3
    assert "no stable name" in faults[0]
    assert "does not exist" in faults[1]


def test_a_disk_under_two_names_is_one_disk(disks: ModuleType) -> None:
    twice = ["/dev/disk/by-id/none", "/dev/disk/by-id/../by-id/none"]
    assert any("is the same disk as" in fault for fault in disks.survey(nothing_known, twice, FSID)[1])


def test_the_boot_note_is_written_once(disks: ModuleType, tmp_path: Path) -> None:
    notes = tmp_path / "osd"
    assert disks.remember(notes, "7", "/dev/disk/by-id/a", True)
    assert not notes.exists()
    assert disks.remember(notes, "7", "/dev/disk/by-id/a", False)
    assert (notes / "7.conf").read_text() == "DEVICE=/dev/disk/by-id/a\n"
    assert not disks.remember(notes, "7", "/dev/disk/by-id/a", False)
