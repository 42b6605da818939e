"""Saved racks: a real one is saved, removed, and comes back with its files and disks; what cannot come back is refused.

Needs root. Uses a rack of its own (``t5``) and saved racks whose names begin with ``t5-``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.rack import lifecycle, machine, saved
from appliance.rack.model import existing, layer_dir, state_root

NAME = "t5"
KEPT = f"{NAME}-kept"
SHAPE = ("--subnet", "10.96.0.0/24", "--stores", "1", "--disk-size", "1G")
DISK = f"/dev/disk/by-id/{NAME}-store1-disk1"


def appliance_rack(*words: str, name: str | None = NAME) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance.cli", "rack", *(["--name", name] if name else []), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=400)


def on(machine_name: str, command: str) -> str:
    done = appliance_rack("exec", machine_name, command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*words: str) -> str:
    """Bring a saved rack back in vain; return what was said, on one line. Nothing may have been started."""
    done = appliance_rack("up", "--from", *words, name=None)
    assert done.returncode == 1, done.stdout
    assert lifecycle.leftovers(NAME) == []
    return " ".join(done.stderr.split())


def clear() -> None:
    assert appliance_rack("down", "--yes-destroy", NAME).returncode == 0
    for name in saved.names():
        if name.startswith(f"{NAME}-"):
            assert appliance_rack("forget", name, "--yes-destroy", name).returncode == 0


@pytest.fixture(scope="module", autouse=True)
def layers_before() -> Iterator[None]:
    clear()
    before = set(layer_dir("").glob("*"))
    yield
    clear()
    assert lifecycle.leftovers(NAME) == []
    assert set(layer_dir("").glob("*")) == before


@pytest.fixture(scope="module")
def kept(layers_before: None) -> None:  # noqa: ARG001 - comes first
    """A rack with changed files and a written disk, saved and gone."""
    up = appliance_rack("up", *SHAPE)
    assert up.returncode == 0, up.stderr
    on("store1", f"echo file >/root/f; rm /etc/issue; mkdir /root/d; echo disk | dd of={DISK} conv=fsync")
    save = appliance_rack("save", KEPT, "--down")
    assert save.returncode == 0, save.stderr
    assert lifecycle.leftovers(NAME) == []


@pytest.fixture
def back(kept: None) -> Iterator[None]:  # noqa: ARG001 - comes first
    """That rack, brought back for one test."""
    up = appliance_rack("up", "--from", KEPT, name=None)
    assert up.returncode == 0, up.stderr
    yield
    assert appliance_rack("down", "--yes-destroy", NAME).returncode == 0


@pytest.mark.usefixtures("back")
class TestRackThatCameBack:
    def test_files_disks_and_addresses_are_as_they_were(self) -> None:
        assert on("store1", f"cat /root/f; ls -d /root/d; head -c 4 {DISK}") == "file\n/root/d\ndisk"
        assert appliance_rack("exec", "store1", "cat /etc/issue").returncode != 0
        assert "10.96.0.21" in on("store1", "ip -brief address show host0")
        assert existing(NAME).ready

    def test_what_is_changed_does_not_reach_the_saved_one(self) -> None:
        on("store1", f"echo other >/root/f; rmdir /root/d; touch /etc/issue; echo else | dd of={DISK} conv=fsync")
        assert appliance_rack("down", "--yes-destroy", NAME).returncode == 0
        assert appliance_rack("up", "--from", KEPT, name=None).returncode == 0
        assert on("store1", f"cat /root/f; ls -d /root/d; head -c 4 {DISK}") == "file\n/root/d\ndisk"
        assert appliance_rack("exec", "store1", "cat /etc/issue").returncode != 0

    def test_its_machines_outlive_a_power_cut_and_the_saved_one(self) -> None:
        again = f"{NAME}-again"
        on("store1", "echo more >>/root/f")
        save = appliance_rack("save", again)
        assert save.returncode == 0, save.stderr
        assert on("store1", "cat /root/f") == "file\nmore\n"
        forgotten = appliance_rack("forget", again, "--yes-destroy", again)
        assert forgotten.returncode == 0, forgotten.stderr
        assert appliance_rack("power", "cut", "store1").returncode == 0
        assert appliance_rack("up", *SHAPE).returncode == 0
        assert on("store1", "cat /root/f") == "file\nmore\n"

    def test_another_of_its_name_is_refused_and_the_one_that_stands_runs_on(self) -> None:
        done = appliance_rack("up", "--from", KEPT, "--stores", "3", name="t6")
        assert done.returncode == 1
        told = " ".join(done.stderr.split())
        assert f"rack {NAME} stands" in told
        assert "--name t6" in told
        assert "--stores: a saved rack comes back in its own shape" in told
        assert on("store1", "cat /root/f") == "file\n"

    def test_a_second_one_of_a_name_is_refused_and_the_rack_runs_on(self) -> None:
        done = appliance_rack("save", KEPT, "--key", "0123456789ab")
        assert done.returncode == 1
        told = " ".join(done.stderr.split())
        assert "a rack is saved so already" in told
        assert "the files that shape machines have changed" in told
        assert machine.leader(existing(NAME).machine("store1")) is not None

    def test_a_save_that_is_aborted_leaves_the_rack_and_no_saved_one(self) -> None:
        half = f"{NAME}-half"
        draft = saved.root() / f"{half}{saved.DRAFT}"
        command = [sys.executable, "-m", "appliance.cli", "rack", "--name", NAME, "save", half]
        on("store1", f"head -c 700000000 /dev/zero | tr '\\0' x | dd of={DISK} bs=1M seek=1 conv=fsync")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as aborted:
            while not draft.exists():
                assert aborted.poll() is None, "the rack was saved before it could be aborted"
            aborted.kill()
        assert draft.exists()
        assert half not in saved.names()
        assert appliance_rack("up", *SHAPE).returncode == 0
        assert on("store1", f"cat /root/f; head -c 4 {DISK}") == "file\ndisk"
        next_one = f"{NAME}-next"
        assert appliance_rack("save", next_one).returncode == 0
        assert not draft.exists()


@pytest.mark.usefixtures("kept")
class TestRefusals:
    @pytest.fixture
    def record(self) -> Iterator[Path]:
        """The saved rack's record, to be changed by a test."""
        path = saved.folder_of(KEPT) / saved.RECORD
        before = path.read_text()
        yield path
        path.write_text(before)

    def test_forgetting_without_the_name_and_the_list_shows_it_still(self) -> None:
        listed = json.loads(appliance_rack("saved", "--json").stdout)
        (row,) = [row for row in listed if row["name"] == KEPT]
        assert row["rack"] == NAME
        assert row["current"] is True
        assert row["bytes"] > 100_000
        assert appliance_rack("forget", KEPT, "--yes-destroy", NAME).returncode == 1
        assert KEPT in saved.names()

    def test_one_of_another_release_unless_knowingly(self, record: Path) -> None:
        stored = json.loads(record.read_text())
        stored["origin"]["release"] = "0.0.9"
        record.write_text(json.dumps(stored))
        told = refused(KEPT)
        assert "made from release 0.0.9" in told
        assert "--stale" in told
        taken = appliance_rack("up", "--from", KEPT, "--stale", name=None)
        assert taken.returncode == 0, taken.stderr
        assert on("store1", "cat /root/f") == "file\n"
        assert appliance_rack("down", "--yes-destroy", NAME).returncode == 0

    def test_one_that_is_not_there(self) -> None:
        told = refused(f"{NAME}-none")
        assert f"no saved rack '{NAME}-none'" in told
        assert KEPT in told

    def test_one_that_is_half_written(self) -> None:
        whole = saved.folder_of(KEPT)
        half = whole.with_name(f"{NAME}-half{saved.DRAFT}")
        whole.rename(half)
        try:
            assert f"no saved rack '{NAME}-half'" in refused(f"{NAME}-half")
        finally:
            half.rename(whole)

    def test_one_whose_disk_is_gone(self) -> None:
        disk = saved.find(KEPT).disks()[0]
        aside = disk.rename(disk.with_suffix(".aside"))
        try:
            assert f"gone: {disk}" in refused(KEPT)
        finally:
            aside.rename(disk)

    def test_too_little_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = state_root()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1G", "tmpfs", str(tmp_path)], check=True)
        try:
            parts = [Path("saved") / KEPT, *(Path("layers") / layer for layer in saved.find(KEPT).rack.layers)]
            subprocess.run(["cp", "-a", "--sparse=always", "--parents", *parts, tmp_path], cwd=own, check=True)
            monkeypatch.setenv("APPLIANCE_STATE", str(tmp_path))
            told = refused(KEPT)
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)
        assert f"disk at {tmp_path}: 0 GiB free, 2 machines take up to 3" in told
        assert told.count(" - ") == 1
