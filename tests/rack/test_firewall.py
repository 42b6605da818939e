"""Rules are tried before they are kept, stand beside others, cut nothing, and are there before the network is."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from machines import FACILITY, HEAD, MACHINES, RACK, STORES, ask, run_on, until
from site_run import PROGRAMS, PROJECT, PlayRun, play

from appliance.rack import health, lifecycle

WANTED = "/etc/appliance/firewall.nft"
CONFIRMED = "/etc/appliance/firewall-confirmed.nft"
SSH = int(FACILITY.facts["firewall_ssh_port"])
LISTENERS = "nft --stateless list chain inet appliance_listeners within"
OWN_PORT = 9100
# Seconds: as short as a trial may be.
TRIAL = 20
FIRST = MACHINES[0]  # the machine that new rules are tried on first


def firewall(*arguments: str, **variables: object) -> PlayRun:
    return play("firewall.yml", *arguments, **variables)


def connects(machine: str, port: int = SSH) -> str:
    """Whether a new connection from the control host is taken: empty, or the error's name."""
    try:
        socket.create_connection((RACK.machine(machine).address, port), timeout=5).close()
    except OSError as error:
        return type(error).__name__
    return ""


def rules(machine: str) -> Any:
    """The rules that the kernel of a machine has, without what they count."""
    found = json.loads(ask(machine, "nft --json --stateless list table inet appliance_firewall"))["nftables"]
    return [{kind: _unnumbered(entry) for kind, entry in each.items()} for each in found]


def _unnumbered(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "handle"}


def standing() -> dict[str, tuple[Any, str]]:
    """Of each machine: the rules in the kernel, and the file that the next boot loads."""
    return {machine: (rules(machine), ask(machine, f"cat {CONFIRMED}")) for machine in MACHINES}


@pytest.fixture
def as_before() -> Iterator[dict[str, tuple[Any, str]]]:
    """What stands before a test, and again after it by the inventory's own rules."""
    before = standing()
    yield before
    done = firewall()
    assert done.status == 0, done.said
    assert standing() == before


def test_a_second_run_changes_nothing() -> None:
    done = firewall()
    assert done.status == 0, done.said
    assert set(done.changed.values()) == {0}


def test_a_check_run_shows_the_rules_that_would_come_and_changes_nothing() -> None:
    before = standing()
    listeners = [{"port": OWN_PORT, "protocol": "tcp", "from": ["10.9.0.0/24"]}]
    done = firewall("--check", "--diff", firewall_site_listeners=listeners)
    assert done.status == 0, done.said
    assert done.said.count(f"+\t\tip saddr 10.9.0.0/24 tcp dport {OWN_PORT} accept\n") == len(MACHINES)
    assert standing() == before
    assert f"dport {OWN_PORT}" not in ask(HEAD, f"cat {WANTED}")


WRONG = {
    "firewall_operators_networks": {"firewall_operators_networks": ["203.0.113.0/24"]},
    "firewall_ssh_port": {"firewall_ssh_port": 2222},
}


@pytest.mark.parametrize(
    "variable", ["firewall_operators_networks", pytest.param("firewall_ssh_port", marks=pytest.mark.long)]
)
def test_a_rule_that_keeps_the_operator_out_is_taken_back(variable: str, as_before: dict[str, tuple[Any, str]]) -> None:
    wrong = {**WRONG[variable], "firewall_trial_seconds": TRIAL}
    command = [PROGRAMS / "ansible-playbook", PROJECT / "playbooks/firewall.yml", "--extra-vars", json.dumps(wrong)]
    with subprocess.Popen(command, cwd=PROJECT, env=FACILITY.environment, stdout=subprocess.PIPE, text=True) as run:
        # The operator is out: that is what the rule does. Of all machines it is one.
        assert until(lambda: connects(FIRST)) == "ConnectionRefusedError"
        assert [connects(machine) for machine in MACHINES[1:]] == [""] * len(STORES)
        said, _ = run.communicate()
    assert run.returncode != 0
    told = " ".join(said.split())
    assert f"The new rules of {FIRST} were taken back" in told
    assert variable in told.partition("were taken back")[2]
    assert connects(FIRST) == ""
    assert standing() == as_before


@pytest.mark.long
def test_a_run_that_dies_in_a_trial_leaves_the_old_rules(as_before: dict[str, tuple[Any, str]]) -> None:
    wrong = {**WRONG["firewall_operators_networks"], "firewall_trial_seconds": TRIAL}
    command = [PROGRAMS / "ansible-playbook", PROJECT / "playbooks/firewall.yml", "--extra-vars", json.dumps(wrong)]
    with subprocess.Popen(command, cwd=PROJECT, env=FACILITY.environment, stdout=subprocess.DEVNULL) as run:
        until(lambda: connects(FIRST))
        since = time.monotonic()
        run.kill()
    until(lambda: not connects(FIRST))
    assert time.monotonic() - since < TRIAL + 10
    until(lambda: standing() == as_before)


@pytest.mark.usefixtures("as_before")
@pytest.mark.long
def test_a_listener_of_the_sites_own_is_let_in_and_no_connection_is_cut() -> None:
    store = STORES[0]
    listen = f"systemd-run --quiet --collect --unit=test-exporter /usr/bin/python3.13 -m http.server {OWN_PORT}"
    ask(store, f"{listen} && until ss -Hltn 'sport = :{OWN_PORT}' | grep -q .; do sleep 0.1; done")
    try:
        assert connects(store, OWN_PORT) == "ConnectionRefusedError"
        listeners = [{"port": OWN_PORT, "protocol": "tcp", "from": [RACK.gateway]}]
        done = firewall(firewall_site_listeners=listeners)
        assert done.status == 0, done.said
        with socket.create_connection((RACK.machine(store).address, OWN_PORT), timeout=20) as own:
            # Rules in which it is not stated any more: new connections are refused, and this one goes on.
            assert firewall().status == 0
            assert connects(store, OWN_PORT) == "ConnectionRefusedError"
            own.sendall(b"GET /etc/hostname HTTP/1.0\r\n\r\n")
            assert own.recv(8) == b"HTTP/1.0"
    finally:
        ask(store, "systemctl stop test-exporter")


@pytest.mark.long
@pytest.mark.usefixtures("as_before")
def test_what_researchers_may_reach_outside_is_the_sites_to_say() -> None:
    connect = f"import socket; socket.create_connection(('{RACK.gateway}', 3142), timeout=20)"
    as_alice = f'systemd-run --quiet --wait --pipe --collect --uid=alice /usr/bin/python3.13 -c "{connect}"'
    assert "ConnectionRefusedError" in run_on(HEAD, as_alice).stderr
    assert firewall(firewall_researchers_networks=[RACK.gateway]).status == 0
    ask(HEAD, as_alice)


def test_other_tables_and_what_is_forwarded_are_left_alone() -> None:
    store = STORES[0]
    ask(store, "nft 'add table ip test_of_the_site; add chain ip test_of_the_site forward'")
    try:
        ask(store, "systemctl restart appliance-firewall")
        tables = ask(store, "nft list tables").split("\n")
        assert {"table ip test_of_the_site", "table inet appliance_listeners"} <= set(tables)
    finally:
        ask(store, "nft delete table ip test_of_the_site")
    hooks = {entry["chain"].get("hook") for entry in rules(store) if "chain" in entry}
    assert hooks == {"input", "output", None}


@pytest.fixture(scope="module")
def as_installed() -> Iterator[None]:
    """After the test the site's own rules are neither started nor loaded at boot, as Debian installs them."""
    yield
    ask(HEAD, "systemctl disable --now nftables")


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("verb", ["start", "reload", "restart", "stop", "enable --now", "disable --now"])
def test_the_sites_own_rules_take_none_of_ours_away(verb: str) -> None:
    """Debian's unit removes all rules there are as it starts, reloads and stops; the order here matters."""
    before, listeners = rules(HEAD), ask(HEAD, LISTENERS)
    ask(HEAD, f"systemctl {verb} nftables")
    assert rules(HEAD) == before
    assert ask(HEAD, LISTENERS) == listeners


@pytest.mark.long
def test_rules_that_somebody_removed_come_again_with_the_next_run() -> None:
    before, listeners = rules(HEAD), ask(HEAD, LISTENERS)
    ask(HEAD, "nft delete table inet appliance_firewall; nft delete table inet appliance_listeners")
    try:
        assert play("ports.yml").status == 0
        assert ask(HEAD, LISTENERS) == listeners
    finally:
        assert firewall().status == 0
    assert rules(HEAD) == before


def test_a_machine_boots_with_its_rules_before_its_network_is_up() -> None:
    before = rules(HEAD)
    lifecycle.power(RACK, HEAD, "off")
    lifecycle.power(RACK, HEAD, "on")
    assert rules(HEAD) == before
    units = "appliance-firewall.service systemd-networkd.service"
    shown = ask(HEAD, f"systemctl show --property=Id,ActiveEnterTimestampMonotonic,ActiveState {units}").strip()
    loaded, network = (dict(line.split("=", 1) for line in block.split("\n")) for block in shown.split("\n\n"))
    assert loaded["ActiveState"] == network["ActiveState"] == "active"
    assert int(loaded["ActiveEnterTimestampMonotonic"]) < int(network["ActiveEnterTimestampMonotonic"])
    health.wait(RACK)


@pytest.mark.long
@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"firewall_users_networks": ["facility"]}, ["firewall_users_networks[0]", "facility", "give an address or a"]),
        ({"firewall_users_networks": ["10.0.0.0/33"]}, ["firewall_users_networks[0]", "10.0.0.0/33"]),
        ({"firewall_operators_networks": []}, ["firewall_operators_network", "[]", "name the control host's network"]),
    ],
)
def test_what_names_no_network_is_told_by_the_preflight(variables: dict[str, object], told: list[str]) -> None:
    before = standing()
    done = play("preflight.yml", **variables)
    assert done.status != 0
    assert "nothing was changed" in done.said
    assert [words for words in told if words not in " ".join(done.said.split())] == []
    assert standing() == before
