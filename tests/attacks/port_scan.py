"""All TCP ports of a machine, as seen from a place: the scanner, the places, and what is stated of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from intruder import PRELUDE, run
from machines import FACILITY, HEAD, MACHINES, RACK, STORES

PROJECT = Path(__file__).parents[2]
LISTENERS: list[dict[str, Any]] = yaml.safe_load((PROJECT / "roles/site_facts/vars/main.yml").read_text())[
    "__site_facts_listeners"
]
# An address in no network that the inventory names, and one of IPv6 for each machine.
STRANGER = "192.0.2.82"
ALL_PORTS = range(1, 65536)
# Undocumented, and in the range of schedulers and workers: the tests listen there themselves.
UNSTATED = 9999
IN_RANGE = int(FACILITY.facts["compute_node_port_max"])

# Some hundred connections at a time. Returns the ports that answered, and how often the others gave which error.
SCANNER = """
import select

def scan(address, ports, source=None):
    opened, closed, ports = [], {}, iter(ports)
    while batch := [port for _, port in zip(range(400), ports)]:
        waiting, poll = {}, select.epoll()
        for port in batch:
            own = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            own.setblocking(False)
            if source:
                own.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
                own.bind((source, 0))
            own.connect_ex((address, port))
            waiting[own.fileno()] = own, port
            poll.register(own, select.EPOLLOUT)
        while waiting and (found := poll.poll(20)):
            for number, _ in found:
                own, port = waiting.pop(number)
                failed = own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    closed[errno.errorcode[failed]] = closed.get(errno.errorcode[failed], 0) + 1
                else:
                    opened.append(port)
                poll.unregister(own)
                own.close()
        closed |= {"silent": len(waiting)} if waiting else {}
        for own, _ in waiting.values():
            own.close()
        poll.close()
    return {"open": opened, "closed": closed}
"""


@dataclass(frozen=True)
class Place:
    """Where a scan comes from: a process of ``user`` on ``machine``, or the control host, by whatever address.

    ``whom`` are the words of the listeners' ``from`` that mean it.
    """

    name: str
    whom: frozenset[str]
    machine: str = ""
    user: str = "root"
    source: str = ""

    def scan(self, address: str, ports: range | tuple[int, ...] = ALL_PORTS) -> tuple[set[int], dict[str, int]]:
        """Return the ports that answered, and how often the others gave which error."""
        program = f"{SCANNER}\nsay(scan({address!r}, {ports!r}, {self.source or None!r}))"
        if self.machine:
            found = run(self.machine, self.user, program)
        else:
            command = [sys.executable, "-c", PRELUDE + program]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return set(found["open"]), found["closed"]


def members(group: str) -> frozenset[str]:
    """The machines of a group, as inventories/rack/groups.yml has them."""
    if group == "all":
        return frozenset(MACHINES)
    return frozenset({HEAD} if group in ("gateway", "jupyterhub") else STORES)


def groups_of(machine: str) -> frozenset[str]:
    """The groups of a machine that listeners speak of."""
    named = {name for listener in LISTENERS for name in (listener["group"], *listener["from"])}
    return frozenset(name for name in named - {"users", "operators", "monitoring"} if machine in members(name))


def port(listener: dict[str, Any]) -> int:
    """The port of a listener, or the first one of its range."""
    return int(listener["port"] if "port" in listener else FACILITY.facts[listener["variable"]])


def stated(place: Place, target: str) -> tuple[set[int], set[int]]:
    """Return the ports of a machine that must answer a place, and those that may."""
    must, may = set(), set()
    for listener in LISTENERS:
        if target not in members(listener["group"]) or not place.whom & set(listener["from"]):
            continue
        if place.user != "root" and not listener.get("researchers"):
            continue
        if "last" in listener:
            may |= set(range(port(listener), int(FACILITY.facts[listener["last"]]) + 1))
        else:
            must.add(port(listener))
    return must | ({IN_RANGE} & may), may


def address_of(machine: str, family: str) -> str:
    """A machine's address; of IPv6, the one that the tests give it."""
    number = RACK.machine(machine).address.rsplit(".", 1)[1]
    return RACK.machine(machine).address if family == "IPv4" else f"fd00:82::{number}"
