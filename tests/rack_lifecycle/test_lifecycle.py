"""The emulated rack itself: real machines come up, hold limits, survive faults, and leave nothing.

Needs root. Uses a rack of its own (``t1``), so that a facility on another rack stays as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.rack import cgroups, lifecycle, machine, network, tree
from appliance.rack.model import existing
from appliance.rack.shell import mount_points

NAME = "t1"
LIMITS = ("--nic", "200mbit", "--memory", "1G", "--cpus", "0.5")
SHAPE = ("--subnet", "10.91.0.0/24", "--disks", "2", "--disk-size", "1G", *LIMITS)
FILL = "python3 -c \"b = bytearray({} << 20); b[::4096] = b'x' * len(b[::4096])\""


def appliance_rack(*words: str, name: str = NAME) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance.cli", "rack", "--name", name, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=400)


def on(machine_name: str, command: str) -> subprocess.CompletedProcess[str]:
    return appliance_rack("exec", machine_name, command)


@pytest.fixture(scope="module")
def rack() -> Iterator[None]:
    appliance_rack("down", "--yes-destroy", NAME)
    up = appliance_rack("up", *SHAPE, "--stores", "2")
    assert up.returncode == 0, up.stderr
    yield
    down = appliance_rack("down", "--yes-destroy", NAME)
    assert down.returncode == 0, down.stderr
    assert lifecycle.leftovers(NAME) == []


@pytest.mark.usefixtures("rack")
class TestStandingRack:
    def test_machines_are_separate_hosts_run_by_systemd(self) -> None:
        for name in ("head1", "store1", "store2"):
            done = on(name, "hostname; cat /proc/1/comm; systemctl --failed --plain --no-legend")
            assert done.stdout.splitlines() == [name, "systemd"], done
            assert on(name, "systemctl is-system-running").stdout == "running\n"
        assert len({on(name, "cat /etc/machine-id").stdout for name in ("head1", "store1", "store2")}) == 3

    def test_a_unit_over_its_memory_limit_is_killed(self) -> None:
        limits = "--property=MemoryMax={} --property=MemorySwapMax=0"
        limited = f"systemd-run -q --wait --collect --unit=probe-{{}} {limits} {FILL.format(300)}"
        assert on("store1", limited.format("small", "100M")).returncode != 0
        # On cgroup v1 systemd is not told that it was for memory; that it was not otherwise shows the run below.
        assert "status=9/KILL" in on("store1", "journalctl -u probe-small").stdout
        assert on("store1", limited.format("large", "600M")).returncode == 0

    def test_a_machine_over_its_memory_limit_is_held_and_lives_on(self) -> None:
        assert on("store1", FILL.format(1200)).returncode != 0
        assert on("head1", FILL.format(1200)).returncode == 0
        assert on("store1", "true").returncode == 0

    def test_a_machine_gets_no_more_processor_than_its_limit(self) -> None:
        spin = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
        spun = appliance_rack("exec", "store1", "--", "python3", "-c", spin)
        assert float(spun.stdout) < 1.3

    def test_disks_are_found_by_stable_id_and_belong_to_one_machine(self) -> None:
        for name in ("store1", "store2"):
            listed = on(name, "ls /dev/disk/by-id").stdout.split()
            assert listed == [f"{NAME}-{name}-disk1", f"{NAME}-{name}-disk2"]
        assert on("store1", f"echo kept | dd of=/dev/disk/by-id/{NAME}-store1-disk2 conv=fsync").returncode == 0
        read = f"head -c 4 /dev/disk/by-id/{NAME}-{{}}-disk2"
        assert on("store1", read.format("store1")).stdout == "kept"
        assert on("store2", read.format("store2")).stdout != "kept"

    def test_a_disk_and_files_outlive_a_power_cut(self) -> None:
        on("store1", f"echo disk | dd of=/dev/disk/by-id/{NAME}-store1-disk1 conv=fsync; echo file > /root/f; sync")
        assert appliance_rack("power", "cut", "store1").returncode == 0
        assert machine.leader(existing(NAME).machine("store1")) is None
        assert appliance_rack("power", "on", "store1").returncode == 0
        kept = on("store1", f"head -c 4 /dev/disk/by-id/{NAME}-store1-disk1; cat /root/f")
        assert kept.stdout == "diskfile\n"

    def test_what_was_changed_on_a_machine_outlives_power_off_and_on(self) -> None:
        on("store1", "echo 10.91.0.22 neighbour >>/etc/hosts; echo '# a key' >>/root/.ssh/authorized_keys")
        assert appliance_rack("power", "off", "store1").returncode == 0
        assert appliance_rack("status").stdout.count(" off ") == 1
        assert appliance_rack("power", "on", "store1").returncode == 0
        assert on("store1", "getent hosts neighbour; tail -1 /root/.ssh/authorized_keys").stdout.endswith("# a key\n")
        assert on("store1", "getent hosts neighbour").returncode == 0

    def test_a_machine_that_reboots_keeps_its_card_disks_and_limits(self) -> None:
        before = on("store2", "cat /proc/sys/kernel/random/boot_id").stdout
        crossed = network.card_bytes(existing(NAME))["store2"]
        on("store2", "systemctl reboot")
        deadline = time.monotonic() + 60
        while (after := on("store2", "cat /proc/sys/kernel/random/boot_id")).returncode or after.stdout == before:
            assert time.monotonic() < deadline, after
            time.sleep(0.5)
        assert network.card_bytes(existing(NAME))["store2"].received > crossed.received
        assert "rate 200Mbit" in on("store2", "tc qdisc show dev host0").stdout
        assert on("store2", f"head -c 1 /dev/disk/by-id/{NAME}-store2-disk1").returncode == 0
        assert on("store2", f"systemd-run -q --wait --collect -p MemoryMax=100M {FILL.format(300)}").returncode != 0
        assert on("store2", f"systemd-run -q --wait --collect {FILL.format(300)}").returncode == 0

    def test_cards_are_as_slow_as_asked_in_both_directions(self) -> None:
        megabytes = 10
        for command in (f"head -c {megabytes}M /dev/zero", f"head -c {megabytes}M >/dev/null"):
            begun = time.monotonic()
            with subprocess.Popen(
                [*lifecycle.ssh_command(existing(NAME), "store1"), command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            ) as moving:
                moving.communicate(bytes(megabytes << 20) if ">" in command else b"")
            # 10 MiB take 0.42 s at 200 Mbit/s, less the burst.
            assert time.monotonic() - begun > 0.38, command

    def test_the_speed_of_cards_changes_while_the_rack_runs(self) -> None:
        assert appliance_rack("nic", "1gbit").returncode == 0
        assert "rate 1Gbit" in on("store2", "tc qdisc show dev host0").stdout
        refused = appliance_rack("nic", "fast")
        assert refused.returncode != 0
        assert "--nic 'fast': give a rate" in refused.stderr
        assert appliance_rack("nic", "none").returncode == 0
        assert "rate" not in on("store2", "tc qdisc show dev host0").stdout
        assert appliance_rack("nic", "200mbit").returncode == 0
        assert existing(NAME).nic == "200mbit"
        assert "rate 200Mbit" in on("store2", "tc qdisc show dev host0").stdout

    def test_cards_count_what_crosses_them(self) -> None:
        rack = existing(NAME)
        before = network.card_bytes(rack)
        sent = on("store1", "head -c 20000000 /dev/zero").stdout
        assert len(sent) == 20_000_000
        after = network.card_bytes(rack)
        assert 20_000_000 < after["store1"].sent - before["store1"].sent < 22_000_000
        assert after["store2"].sent - before["store2"].sent < 100_000

    def test_machines_have_no_way_out(self) -> None:
        assert on("store1", "ping -c1 -W1 10.91.0.22").returncode == 0
        # An address for documentation, which nobody has: the packet must not leave the bridge.
        forwarded = subprocess.run(["sysctl", "-n", "net.ipv4.ip_forward"], capture_output=True, text=True).stdout
        assert forwarded.strip() == "0"

    def test_up_again_changes_nothing(self) -> None:
        before = json.loads(appliance_rack("status", "--json").stdout)
        again = appliance_rack("up", *SHAPE, "--stores", str(existing(NAME).stores))
        assert again.returncode == 0
        assert "nothing was changed" in again.stdout
        after = json.loads(appliance_rack("status", "--json").stdout)
        assert [row["running"] for row in before] == [row["running"] for row in after] == [True] * len(before)

    def test_another_shape_is_refused(self) -> None:
        done = appliance_rack("up", "--subnet", "10.91.0.0/24", "--stores", "1")
        assert done.returncode != 0
        assert "another shape" in done.stderr

    def test_another_command_on_the_rack_meanwhile_is_refused(self) -> None:
        with lifecycle.only_one(NAME):
            done = appliance_rack("down", "--yes-destroy", NAME)
        assert done.returncode != 0
        assert "another command" in done.stderr
        assert on("head1", "true").returncode == 0

    def test_a_storage_machine_is_added_while_the_others_run(self) -> None:
        booted = on("store1", "cat /proc/sys/kernel/random/boot_id").stdout
        standing = json.loads(appliance_rack("inventory").stdout)["storage"]["hosts"]
        added = f"store{len(standing) + 1}"
        grown = appliance_rack("up", *SHAPE, "--stores", str(len(standing) + 1))
        assert grown.returncode == 0, grown.stderr
        assert on(added, "hostname").stdout == f"{added}\n"
        assert on("store1", "cat /proc/sys/kernel/random/boot_id").stdout == booted
        inventory = json.loads(appliance_rack("inventory").stdout)
        assert inventory["storage"]["hosts"] == [*standing, added]

    def test_a_subnet_that_is_taken_is_refused_before_anything_starts(self) -> None:
        done = appliance_rack("up", "--subnet", "10.91.0.0/24", name="t2")
        assert done.returncode != 0
        assert "br-t1" in done.stderr
        assert "another --subnet" in done.stderr
        assert lifecycle.leftovers("t2") == []

    def test_down_wants_the_name(self) -> None:
        done = appliance_rack("down", "--yes-destroy", "t2")
        assert done.returncode != 0
        assert "nothing was changed" in done.stderr
        assert on("head1", "true").returncode == 0

    def test_exit_codes_and_words_pass_through(self) -> None:
        assert on("head1", "exit 7").returncode == 7
        assert appliance_rack("exec", "head1", "--", "printf", "%s|", "a  b", "$HOME", "c").stdout == "a  b|$HOME|c|"

    def test_machines_outlive_the_session_that_started_them(self) -> None:
        leader = machine.leader(existing(NAME).machine("head1"))
        assert leader is not None
        assert os.getsid(leader) != os.getsid(0)
        groups = Path(f"/proc/{leader}/cgroup").read_text().splitlines()
        assert all(cgroups.folder_name(f"{NAME}-h1") in group for group in groups if not group.endswith(":/"))


def test_an_interface_of_somebody_else_is_neither_taken_nor_removed() -> None:
    subprocess.run(["ip", "link", "add", "br-t4", "type", "bridge"], check=True)
    try:
        up = appliance_rack("up", "--subnet", "10.94.0.0/24", name="t4")
        assert up.returncode != 0
        assert "interface br-t4: it is there and no rack's" in up.stderr
        down = appliance_rack("down", "--yes-destroy", "t4", name="t4")
        assert "there is nothing" in down.stdout
        assert Path("/sys/class/net/br-t4").exists()
    finally:
        subprocess.run(["ip", "link", "delete", "br-t4"], check=True)


def test_a_route_to_the_subnet_is_a_fault_before_anything_starts() -> None:
    subprocess.run(["ip", "route", "add", "10.95.0.0/16", "dev", "lo"], check=True)
    try:
        up = appliance_rack("up", "--subnet", "10.95.7.0/24", name="t4")
    finally:
        subprocess.run(["ip", "route", "delete", "10.95.0.0/16", "dev", "lo"], check=True)
    assert up.returncode != 0
    assert "10.95.0.0/16 leads to lo; choose another --subnet" in " ".join(up.stderr.split())
    assert lifecycle.leftovers("t4") == []


def test_up_copes_with_what_an_aborted_up_left() -> None:
    name, shape = "t3", ("--subnet", "10.93.0.0/24", "--stores", "1", "--disk-size", "1G")
    command = [sys.executable, "-m", "appliance.cli", "rack", "--name", name, "up", *shape]
    try:
        aborted = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not any("loop device" in left for left in lifecycle.leftovers(name)):
            assert aborted.poll() is None, "the rack was up before it could be aborted"
            time.sleep(0.05)
        aborted.kill()
        aborted.wait()
        assert lifecycle.leftovers(name)
        again = appliance_rack("up", *shape, name=name)
        assert again.returncode == 0, again.stderr
        assert appliance_rack("exec", "store1", "true", name=name).returncode == 0
    finally:
        down = appliance_rack("down", "--yes-destroy", name, name=name)
    assert down.returncode == 0, down.stderr
    assert lifecycle.leftovers(name) == []


def test_an_aborted_tree_is_not_taken_for_one_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_CACHE", str(tmp_path))
    command = [sys.executable, "-m", "appliance.cli", "rack", "--name", "t3", "up", "--subnet", "10.93.0.0/24"]
    draft = tree.path("trixie").with_suffix(".draft")
    working = f"mmdebstrap.*{draft}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as aborted:
        try:
            while not (draft / "var/lib").exists():
                assert aborted.poll() is None, "the tree was made before it could be aborted"
                time.sleep(0.1)
            assert subprocess.run(["pgrep", "-f", working], stdout=subprocess.DEVNULL).returncode == 0
        finally:
            aborted.kill()
    deadline = time.monotonic() + 10
    while subprocess.run(["pgrep", "-f", working], stdout=subprocess.DEVNULL).returncode == 0:
        assert time.monotonic() < deadline, "the tree's maker outlives the command"
        time.sleep(0.1)
    assert draft.exists()
    assert not tree.path("trixie").exists()
    assert not any(str(tmp_path) in str(point) for point in mount_points())
    assert appliance_rack("down", "--yes-destroy", "t3", name="t3").returncode == 0
    assert lifecycle.leftovers("t3") == []


def test_without_root_the_rack_says_so() -> None:
    if os.geteuid() != 0:
        pytest.fail("these tests need root")
    # A child that drops root in Python: the interpreter's own folder need not be readable for others.
    code = (
        "import os, click.testing as t; from appliance.rack.cli import rack; os.setuid(65534); "
        "r = t.CliRunner().invoke(rack, ['--name', 't2', 'up']); print(r.exit_code, r.output)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("1 "), done
    assert "root" in done.stdout
