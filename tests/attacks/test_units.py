"""The facility's units: how much of the machine each has, and that nobody sees another's command line."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hub_session import HubSession
from intruder import run
from machines import FACILITY, MACHINES, STORES, ask
from researcher import Researcher

MOST = 3.0
STORE = STORES[0]
# Each unit that the facility's roles write, or add more to than their place in a slice.
UNITS = {
    "jupyterhub.service": "head1",
    "jupyterhub-proxy.service": "head1",
    "dask-gateway.service": "head1",
    "appliance-listeners.service": STORE,
    "appliance-firewall.service": STORE,
    "appliance-s3-keys.service": STORE,
    "appliance-placement.service": STORE,
    "appliance-layouts@test.service": STORE,
    "appliance-osd-activate@0.service": STORE,
    f"ceph-mgr@{STORE}.service": STORE,
    f"ceph-radosgw@rgw.{STORE}.service": STORE,
}
CLUSTER = """
from dask_gateway import Gateway
cluster = Gateway().new_cluster()
cluster.scale(1)
cluster.get_client().wait_for_workers(1, timeout=120)
say(name=cluster.name)
"""


@pytest.fixture(scope="module")
def alices() -> Iterator[dict[str, str]]:
    """Alice's notebook server, scheduler and worker: the host of each unit."""
    session = HubSession(FACILITY.front, "alice")
    session.log_in(FACILITY.password("alice"))
    session.stop()
    session.start()
    with Researcher(FACILITY, "alice") as alice, alice.notebook() as notebook:
        try:
            name = notebook.run(CLUSTER)["name"]
            units = {"jupyter-alice-singleuser.service": "head1"}
            for store in STORES:
                listed = ask(store, f"systemctl list-units --plain --no-legend --full 'dask-alice-{name}-*'")
                units |= {line.split()[0]: store for line in listed.splitlines()}
            assert len(units) == 3
            yield units
        finally:
            notebook.run("cluster.shutdown()")
            session.stop()


def exposure(machine: str, unit: str) -> float:
    """What `systemd-analyze security` says of a unit: 0 has nothing of the machine, 10 has all."""
    said = ask(machine, f"systemd-analyze security --no-pager {unit}")
    (found,) = re.findall(r"exposure level for \S+: ([\d.]+)", said)
    return float(found)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_has_little_of_its_machine(unit: str) -> None:
    assert exposure(UNITS[unit], unit) <= MOST


def test_researchers_units_have_little_of_their_machine(alices: dict[str, str]) -> None:
    found = {unit: exposure(machine, unit) for unit, machine in alices.items()}
    assert {unit: figure for unit, figure in found.items() if figure > 2.0} == {}


def test_a_unit_without_a_sandbox_has_much() -> None:
    """The control: the figure tells them apart."""
    ask("head1", "systemd-run --quiet --unit=test-open sleep 60")
    try:
        assert exposure("head1", "test-open.service") > 9
    finally:
        ask("head1", "systemctl stop test-open.service")


def test_no_unit_makes_a_namespace(alices: dict[str, str]) -> None:
    open_ = []
    for unit, machine in {**UNITS, **alices, f"ceph-mon@{STORE}.service": STORE}.items():
        if ask(machine, f"systemctl show --value -p RestrictNamespaces {unit}").strip() != "yes":
            open_.append(unit)
    assert open_ == []


@pytest.mark.parametrize("kind", ["USER", "NET", "PID", "IPC", "UTS", "NS"])
@pytest.mark.parametrize("machine", ["head1", STORE])
def test_the_kernel_refuses_a_namespace(machine: str, kind: str) -> None:
    program = f"say(attempt(os.unshare, os.CLONE_NEW{kind}))"
    assert run(machine, "alice", program) == "EPERM"
    assert run(machine, "root", program) == "done"


@pytest.mark.parametrize("machine", MACHINES)
def test_no_process_of_anothers_is_seen(machine: str) -> None:
    program = """
owners = {os.stat(f"/proc/{name}").st_uid for name in os.listdir("/proc") if name.isdigit()}
say([attempt(lambda: open("/proc/1/cmdline").read()), owners == {os.getuid()}])
"""
    assert run(machine, "bob", program) == ["ENOENT", True]
    command_line, own_only = run(machine, "root", program)
    assert "systemd" in command_line or "init" in command_line
    assert not own_only


def test_no_command_line_and_no_variable_of_anothers_unit_is_told(alices: dict[str, str]) -> None:
    for unit, machine in alices.items():
        program = f"""
def ask(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    return [done.returncode, done.stdout + done.stderr]
path = "/org/freedesktop/systemd1"
bus = ["busctl", "call", "org.freedesktop.systemd1", path, "org.freedesktop.systemd1.Manager"]
say({{
    "show": ask("systemctl", "show", {unit!r}),
    "cat": ask("systemctl", "cat", {unit!r}),
    "status": ask("systemctl", "status", {unit!r}),
    "list": ask("systemctl", "list-units"),
    "bus": ask(*bus, "GetUnit", "s", {unit!r}),
    "file": attempt(lambda: open("/run/systemd/transient/" + {unit!r}).read()),
    "folder": attempt(os.listdir, "/run/systemd/transient"),
}})
"""
        seen = run(machine, "bob", program)
        assert (seen.pop("file"), seen.pop("folder")) == ("EACCES", "EACCES")
        for way, (status, said) in seen.items():
            assert status != 0, (way, said)
            assert "ccess denied" in said or "Rejected send message" in said, (way, said)
            assert "/nix/store" not in said, way
        owners = run(machine, "root", program)
        assert "/nix/store" in owners["show"][1]
        assert "/nix/store" in owners["file"]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_systems_bus_serves_no_researcher(machine: str) -> None:
    names = ("systemd1", "login1", "hostname1", "timedate1")
    program = f"""
def ping(name):
    done = subprocess.run(["busctl", "--timeout=5", "call", f"org.freedesktop.{{name}}", "/",
                           "org.freedesktop.DBus.Peer", "Ping"], capture_output=True, text=True)
    return done.stderr if done.returncode else "answers"
say([ping(name) for name in {names!r}])
"""
    assert all("denied" in said or "Rejected" in said for said in run(machine, "bob", program))
    assert "answers" in run(machine, "root", program)
