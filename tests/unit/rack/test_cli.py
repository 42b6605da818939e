"""What the rack's commands refuse before they touch anything, and how they say so."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from appliance.rack import checks, lifecycle
from appliance.rack.cli import Gibibytes, rack
from appliance.rack.model import Rack, RackError


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_STATE", str(tmp_path))


def call(*words: str) -> Result:
    return CliRunner().invoke(rack, words)


@pytest.mark.parametrize(("text", "gib"), [("12G", 12), ("512M", 0.5), ("1.5GiB", 1.5), ("2T", 2048)])
def test_sizes_are_read_as_people_write_them(text: str, gib: float) -> None:
    assert Gibibytes().convert(text, None, None) == gib


@pytest.mark.parametrize("text", ["12", "-1G", "G", "12 apples", "1e9G"])
def test_a_size_without_a_unit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="12G"):
        Gibibytes().convert(text, None, None)


@pytest.mark.parametrize("name", ["../../etc", "Rack", "", "a" * 9, "1rack", "a-b"])
@pytest.mark.parametrize("verb", ["up", "status", "ssh head1", "power off head1", "inventory"])
def test_a_name_that_is_none_reaches_no_path(name: str, verb: str) -> None:
    done = call("--name", name, *verb.split())
    assert done.exit_code == 1
    # Where root is missing too, that is said first.
    assert "--name" in done.output or "root" in done.output


def test_what_down_works_from_refuses_such_a_name_itself() -> None:
    for work in (lifecycle.down, lifecycle.leftovers):
        with pytest.raises(RackError, match="--name"):
            work("../../etc")


def test_a_machine_that_the_rack_has_not_is_told_with_those_it_has() -> None:
    Rack(name="t9", stores=1).save()
    done = call("--name", "t9", "exec", "store9", "true")
    assert done.exit_code == 1
    assert "head1, store1" in done.output


def test_an_inventory_without_a_rack_is_empty_and_not_an_error() -> None:
    done = call("--name", "t9", "inventory", "--list")
    assert done.exit_code == 0
    assert '"hostvars": {}' in done.output


def test_a_subnet_of_the_host_itself_is_a_fault_with_the_way_out() -> None:
    # Loopback is the one network that every host has.
    faults = checks.host_faults(Rack(name="t9", subnet="127.5.0.0/24"), starting=1)
    assert "--subnet 127.5.0.0/24: interface lo has 127.0.0.0/8; choose another --subnet" in faults


def test_more_machines_than_the_host_can_hold_are_faults_of_disk_and_memory() -> None:
    told = "\n".join(checks.host_faults(Rack(name="t9", subnet="127.5.0.0/24"), starting=10_000_000))
    assert "APPLIANCE_STATE" in told
    assert "fewer --stores" in told


def test_only_more_storage_machines_are_growth() -> None:
    standing = Rack(name="t9", stores=2, nic="1gbit")
    assert Rack(name="t9", stores=3, nic="1gbit").grows_from(standing)
    assert not Rack(name="t9", stores=2, nic="1gbit").grows_from(standing)
    assert not Rack(name="t9", stores=1, nic="1gbit").grows_from(standing)
    assert not Rack(name="t9", stores=3).grows_from(standing)


def test_limits_of_head_and_storage_machines_are_apart() -> None:
    limited = Rack(name="t9", stores=1, memory_gib=2, head_memory_gib=None)
    assert [limited.memory_limit(machine) for machine in limited.machines()] == [None, 2**31]
    faults = Rack(memory_gib=0.01, head_memory_gib=0.01, cpus=0).faults()
    assert [fault.split()[0] for fault in faults] == ["--memory", "--head-memory", "--cpus"]


@pytest.mark.parametrize(("share", "told"), [("fast", "float"), ("nan", "0.05"), ("0.01", "0.05 to 1"), ("0.5", "off")])
def test_a_machine_is_not_made_slower_than_it_can_be(share: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.rack.cli._root", lambda: None)
    Rack(name="t9", stores=1).save()
    done = call("--name", "t9", "slow", "store1", share)
    assert done.exit_code != 0
    assert told in done.output
