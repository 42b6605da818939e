"""Of all TCP ports of each machine exactly the stated ones answer: a neighbour, a notebook, a worker, and outside."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from intruder import run
from machines import HEAD, MACHINES, RACK, STORES, ask
from port_scan import ALL_PORTS, IN_RANGE, STRANGER, UNSTATED, Place, address_of, groups_of, stated

CONTROL_HOST = Place("control host", frozenset({"operators", "users", "monitoring"}))
OUTSIDE = Place("outside", frozenset(), source=STRANGER)
NOTEBOOK = Place("notebook", groups_of(HEAD), HEAD, "alice")
WORKER = Place("worker", groups_of(STORES[0]), STORES[0], "alice")


def machine(name: str) -> Place:
    """Root on a machine of the facility."""
    return Place(f"root on {name}", groups_of(name), name)


# Where from, and to which machine.
PAIRS = [
    *((CONTROL_HOST, target) for target in MACHINES),
    *((OUTSIDE, target) for target in MACHINES),
    *((machine(source), target) for source, target in zip((*STORES, HEAD), (HEAD, *STORES), strict=True)),
    (machine(HEAD), STORES[0]),
    *((NOTEBOOK, target) for target in STORES),
    *((WORKER, target) for target in MACHINES if target != STORES[0]),
]
NAMES = [f"{place.name} to {target}" for place, target in PAIRS]
# Listens at two TCP ports and one UDP port, and answers what comes.
PLANT = f"""
import socket, threading
def serve(own):
    while True:
        other, _ = own.accept()
        other.close()
for port in ({UNSTATED}, {IN_RANGE}):
    own = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=[own], daemon=True).start()
own = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
own.bind(("::", {UNSTATED}))
while True:
    text, sender = own.recvfrom(100)
    own.sendto(text, sender)
"""
ASK_UDP = """
def ask(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(20)
        own.connect((address, port))
        own.send(b"here")
        return own.recv(100).decode()
"""


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    """An address outside of the site's networks, and addresses of IPv6, of which the rack has none.

    And on each machine root listens where nothing is stated, and where only researchers' processes connect.
    """
    given = [
        ["ip", "address", "add", "dev", RACK.bridge, f"{STRANGER}/32"],
        ["ip", "address", "add", "dev", RACK.bridge, "fd00:82::1/64", "nodad"],
    ]
    for command in given:
        subprocess.run(command, check=True)
    for name in MACHINES:
        ask(name, f"ip -6 address add {address_of(name, 'IPv6')}/64 dev host0 nodad")
        ask(
            name,
            'systemd-run --quiet --collect --unit=test-planted /usr/bin/python3.13 -c "$(cat)" && '
            f"until ss -Hlun 'sport = :{UNSTATED}' | grep -q .; do sleep 0.1; done",
            given=PLANT,
        )
    yield
    for command in given:
        subprocess.run(["ip", "address", "del", *command[3:6]], check=True)
    for name in MACHINES:
        ask(name, f"systemctl stop test-planted; ip -6 address del {address_of(name, 'IPv6')}/64 dev host0")


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("target", MACHINES)
def test_root_on_the_machine_itself_connects(target: str, family: str) -> None:
    """The control of all that follows: these ports do answer."""
    address = address_of(target, family)
    opened, _ = machine(target).scan(address, (UNSTATED, IN_RANGE))
    assert opened == {UNSTATED, IN_RANGE}
    assert run(target, "root", f"{ASK_UDP}\nsay(attempt(ask, {address!r}, {UNSTATED}))") == "here"


@pytest.mark.parametrize(("place", "target"), PAIRS, ids=NAMES)
def test_exactly_the_stated_ports_answer(place: Place, target: str) -> None:
    opened, closed = place.scan(address_of(target, "IPv4"))
    must, may = stated(place, target)
    assert must <= opened <= must | may
    # Refused, all of them, and at once: none kept whoever asked waiting.
    assert closed == {"ECONNREFUSED": len(ALL_PORTS) - len(opened)}


INSIDE = [pair for pair in PAIRS if pair[0].machine and pair[0] not in (NOTEBOOK, WORKER)]
INSIDE += [(NOTEBOOK, STORES[0]), (WORKER, HEAD)]


@pytest.mark.parametrize(("place", "target"), INSIDE, ids=[f"{place.name} to {target}" for place, target in INSIDE])
def test_no_port_answers_over_ipv6_where_the_site_has_none(place: Place, target: str) -> None:
    opened, closed = place.scan(address_of(target, "IPv6"))
    assert opened == set()
    assert closed == {"ECONNREFUSED": len(ALL_PORTS)}


@pytest.mark.parametrize("target", MACHINES)
def test_no_port_answers_outsiders_over_ipv6(target: str) -> None:
    opened, closed = CONTROL_HOST.scan(address_of(target, "IPv6"))
    assert opened == set()
    assert closed == {"ECONNREFUSED": len(ALL_PORTS)}


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize(("source", "target"), [(HEAD, STORES[0]), (STORES[0], STORES[1]), (STORES[1], HEAD)])
def test_no_datagram_comes_in(source: str, target: str, family: str) -> None:
    program = f"{ASK_UDP}\nsay(attempt(ask, {address_of(target, family)!r}, {UNSTATED}))"
    assert run(source, "root", program) == {"IPv4": "EHOSTUNREACH", "IPv6": "EACCES"}[family]
