"""What is on a disk, told from its first bytes and from what the monitors know. Disks are files or bytes here."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import uuid
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import disk_contents
from ansible.module_utils.disk_contents import State, Verdict, judge_label, parse_label, proven
from hypothesis import given
from hypothesis import strategies as st

FSID = "3f1c9d1e-0f5b-4f0e-9f43-0d5f6a7b8c9d"
OTHER = "11111111-2222-3333-4444-555555555555"
OSD = "c0ffee00-0000-4000-8000-000000000007"
# What OSD::mkfs adds to the label, one after the other, once BlueStore's own part is done.
ENTRIES = {"magic": "ceph osd volume v026", "whoami": "7", "ceph_fsid": FSID, "osd_key": "CANARY", "ready": "ready"}


def encoded(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def label(entries: dict[str, str], description: str = "main") -> bytes:
    """A disk's first 4096 bytes as BlueStore writes them (`bluestore_bdev_label_t::encode`, version 2)."""
    osd = uuid.UUID(OSD)
    body = osd.bytes + struct.pack("<Q", 1 << 34) + bytes(8) + encoded(description) + struct.pack("<I", len(entries))
    body += b"".join(encoded(name) + encoded(value) for name, value in entries.items())
    head = b"bluestore block device\n" + OSD.encode() + b"\n"
    return (head + bytes([2, 1]) + struct.pack("<I", len(body)) + body).ljust(4096, b"\0")


def test_a_label_tells_whose_osd_it_is_and_never_the_key() -> None:
    found = parse_label(label(ENTRIES))
    assert (found.osd_uuid, found.description, found.fsid, found.osd_id, found.finished) == (
        OSD, "main", FSID, "7", True,
    )  # fmt: skip
    assert "CANARY" not in repr(found)


def test_an_osd_of_this_cluster_is_finished_whether_it_runs_or_not() -> None:
    for running in (False, True):
        verdict = judge_label(parse_label(label(ENTRIES)), FSID, running)
        assert (verdict.state, verdict.reason) == (State.FINISHED, "")


@pytest.mark.parametrize("written", range(len(ENTRIES)))
def test_an_osd_is_unfinished_until_the_last_entry_is_written(written: int) -> None:
    """An interruption leaves the first so many entries; while something holds the disk, it is still being made."""
    found = parse_label(label(dict(list(ENTRIES.items())[:written])))
    assert judge_label(found, FSID, False).state is State.UNFINISHED
    making = judge_label(found, FSID, True)
    assert (making.state, OSD in making.reason) == (State.MAKING, True)


@pytest.mark.parametrize("entries", [{**ENTRIES, "ceph_fsid": OTHER}, {"ceph_fsid": OTHER, "whoami": "7"}])
def test_another_clusters_osd_is_refused_by_name_finished_or_not(entries: dict[str, str]) -> None:
    verdict = judge_label(parse_label(label(entries)), FSID, False)
    assert verdict.state is State.FOREIGN
    assert f"osd.7 of another cluster ({OTHER})" in verdict.reason


def test_a_finished_osd_without_a_cluster_is_another_ones() -> None:
    entries = {name: value for name, value in ENTRIES.items() if name != "ceph_fsid"}
    assert judge_label(parse_label(label(entries)), FSID, False).state is State.FOREIGN


def test_the_database_of_an_osd_is_never_taken_for_an_unfinished_one() -> None:
    """Its label has no more than the uuid, as that of an OSD that was just begun."""
    verdict = judge_label(parse_label(label({}, description="bluefs db")), FSID, False)
    assert (verdict.state, verdict.reason) == (State.OCCUPIED, "holds a part of an OSD (bluefs db)")


def test_no_bluestore_is_no_osd() -> None:
    assert parse_label(bytes(4096)) is None


@given(st.integers(61, 200))
def test_a_label_that_is_cut_off_is_damage_and_not_emptiness(kept: int) -> None:
    with pytest.raises(ValueError, match="label ends"):
        parse_label(label(ENTRIES)[:kept])


@given(st.binary(max_size=300))
def test_whatever_follows_the_magic_line_is_never_taken_for_an_osd_of_this_cluster(noise: bytes) -> None:
    try:
        found = parse_label(label(ENTRIES)[:60] + noise)
    except ValueError:
        return
    assert judge_label(found, FSID, False).reason


def dumped(osd_uuid: str = OSD, state: tuple[str, ...] = ("exists", "new"), up: int = 0, up_from: int = 0) -> Any:
    return {"osd": 7, "uuid": osd_uuid, "state": list(state), "up": up, "up_from": up_from}


@pytest.mark.parametrize(
    ("osds", "doubt"),
    [
        ([dumped()], ""),
        ([dumped(OTHER), dumped()], ""),
        ([], "the monitors do not know it"),
        ([dumped(OTHER)], "the monitors do not know it"),
        ([dumped(state=("exists",))], "osd.7 has been up"),
        ([dumped(state=("exists", "up"), up=1, up_from=9)], "osd.7 has been up"),
        ([dumped(up_from=9)], "osd.7 has been up"),
    ],
)
def test_only_an_osd_that_never_started_holds_nothing(osds: list[Any], doubt: str) -> None:
    found = disk_contents.doubt(parse_label(label({})), osds)
    assert found.endswith(doubt)
    assert bool(found) == bool(doubt)


UNFINISHED = {"/dev/disk/by-id/a": Verdict(State.UNFINISHED, label=parse_label(label({})))}


def monitors(*osds: Any) -> Any:
    """Stands where AnsibleModule.run_command does: the monitors answer with these OSDs."""

    def run(_command: list[str], data: str) -> tuple[int, str, str]:
        assert "client.bootstrap-osd" in data
        return 0, json.dumps([[0, json.dumps({"osds": osds}), ""]]), ""

    return run


def test_an_unfinished_osd_that_never_started_may_be_made_anew() -> None:
    assert proven(monitors(dumped()), UNFINISHED) == UNFINISHED


def test_an_unfinished_osd_of_nobody_known_is_refused() -> None:
    (verdict,) = proven(monitors(), UNFINISHED).values()
    assert f"holds an OSD (uuid {OSD}) whose making was interrupted, and the monitors do not know it" in verdict.reason
    assert "wipe it yourself" in verdict.fix


def test_an_unfinished_osd_is_refused_while_no_monitor_answers() -> None:
    (verdict,) = proven(lambda _command, data: (1, "", f"no answer{data[:0]}"), UNFINISHED).values()
    assert "could not be asked within 60 s: no answer" in verdict.reason


def nothing_known(command: list[str]) -> tuple[int, str, str]:
    raise AssertionError(f"no disk was to be asked, and this was run: {command}")


def test_all_disks_are_judged_and_none_is_asked_twice(tmp_path: Path) -> None:
    devices = ["/dev/sdz", "/dev/disk/by-id/there-is-none", "/dev/disk/by-id/../../sdz", str(tmp_path)]
    found = disk_contents.survey(nothing_known, devices, FSID)
    assert [verdict.state for verdict in found.values()] == ["unstable", "missing", "occupied", "unstable"]
    assert all(verdict.fix for verdict in found.values())


def test_a_disk_under_two_names_is_one_disk() -> None:
    first, second = "/dev/disk/by-id/none", "/dev/disk/by-id/../by-id/none"
    assert disk_contents.survey(nothing_known, [first, second], FSID)[second].reason == f"is the same disk as {first}"


def test_data_at_either_end_is_seen(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    size = 4 << 20
    for position, holds in ((0, True), (size - 1, True), (size // 2, False)):
        content = bytearray(size)
        content[position] = 1
        disk.write_bytes(content)
        assert disk_contents.edges_hold_data(disk) is holds


def test_a_disk_that_a_program_locks_is_busy(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"")
    handle = os.open(disk, os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert disk_contents.busy(disk)
    os.close(handle)
    assert not disk_contents.busy(disk)
