"""The rack's network: one bridge on the control host, a card for each machine, and what crosses the cards.

A machine's card is a pair of virtual interfaces: ``vb-…`` on the bridge, ``host0`` in a network namespace that belongs
to the machine and not to its processes. So it keeps its address, speed and counters over reboots and power cuts.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from appliance.rack.model import Machine, Rack
from appliance.rack.shell import mount_points, run, succeeds

INTERFACES = Path("/sys/class/net")


class CardBytes(NamedTuple):
    """Bytes that a machine received and sent since its card was made."""

    received: int
    sent: int


def addresses() -> list[Mapping[str, Any]]:
    """Return the host's interfaces with their addresses, as ``ip -json`` tells them."""
    listed: list[Mapping[str, Any]] = json.loads(run("ip", "-json", "address"))
    return listed


def routes() -> list[tuple[ipaddress.IPv4Network, str]]:
    """Return the networks that the host has a route to, the default aside, each with its interface."""
    found = []
    for route in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all")):
        # Local and broadcast routes follow from addresses; a default route leads everywhere and takes no network.
        if route.get("type", "unicast") == "unicast" and route["dst"] != "default":
            found.append((ipaddress.IPv4Network(route["dst"], strict=False), route.get("dev", "?")))
    return found


def mark(name: str) -> str:
    """Return the alias that bridges of the rack called ``name`` carry: other people's are not ours to remove."""
    return f"appliance rack {name}"


def is_ours(name: str) -> bool:
    """Tell whether the bridge of the rack called ``name`` stands and was made for it."""
    alias = INTERFACES / f"br-{name}" / "ifalias"
    return alias.exists() and alias.read_text().strip() == mark(name)


def make_bridge(rack: Rack) -> None:
    """Make the rack's bridge with the control host's address on it, if it does not stand."""
    if not (INTERFACES / rack.bridge).exists():
        run("ip", "link", "add", rack.bridge, "type", "bridge")
        run("ip", "link", "set", rack.bridge, "alias", mark(rack.name))
    wanted = f"{rack.gateway}/{rack.network.prefixlen}"
    run("ip", "address", "replace", wanted, "dev", rack.bridge)
    run("ip", "link", "set", rack.bridge, "up")


def remove_bridge(name: str) -> None:
    """Remove the bridge of the rack called ``name``, and cards that an aborted run left on it."""
    for interface in INTERFACES.glob(f"vb-{name}-*"):
        succeeds("ip", "link", "delete", interface.name)
    if is_ours(name):
        run("ip", "link", "delete", f"br-{name}")


def make_card(rack: Rack, machine: Machine) -> None:
    """Give the machine its card, at the rack's speed, if it has none yet."""
    namespace = str(machine.network_namespace)
    if machine.network_namespace not in mount_points():
        machine.network_namespace.touch()
        run("unshare", f"--net={namespace}", "true")
    if not (INTERFACES / machine.card).exists():
        peer = ("peer", "name", "host0", "netns", namespace)
        run("ip", "link", "add", machine.card, "type", "veth", *peer)
    run("ip", "link", "set", machine.card, "master", rack.bridge, "up")
    if rack.nic is not None:
        set_speed(machine, rack.nic)


def set_speed(machine: Machine, rate: str | None) -> None:
    """Make the machine's card as slow as ``rate`` (for tc, such as ``200mbit``) both ways, or free of limits."""
    inside = ("nsenter", f"--net={machine.network_namespace}")
    for words, device in (((), machine.card), (inside, "host0")):  # each end of the pair limits what it sends
        if rate is None:
            succeeds(*words, "tc", "qdisc", "delete", "dev", device, "root")  # fails where there was no limit
        else:
            shaping = ("tbf", "rate", rate, "burst", "256k", "latency", "50ms")
            run(*words, "tc", "qdisc", "replace", "dev", device, "root", *shaping)


def remove_card(machine: Machine) -> None:
    """Remove the machine's card and its network namespace."""
    if machine.network_namespace in mount_points():
        run("umount", str(machine.network_namespace))
    if (INTERFACES / machine.card).exists():
        # The kernel removes the pair with the namespace, in its own time: either of us may be first.
        succeeds("ip", "link", "delete", machine.card)


def hang_up(subnet: ipaddress.IPv4Network) -> None:
    """Close the host's own connections to the machines of ``subnet``.

    Kept ssh connections would otherwise be there for minutes, and mislead a rack that gets the same addresses.
    """
    succeeds("ss", "--kill", "--tcp", "dst", str(subnet))


def card_bytes(rack: Rack) -> dict[str, CardBytes]:
    """Return what has crossed each machine's card, by machine name: the measure of locality.

    The host's end of the pair counts from its own side: what it sends, the machine receives.
    """
    counted = {}
    for machine in rack.machines():
        statistics = INTERFACES / machine.card / "statistics"
        if statistics.is_dir():
            received, sent = (int((statistics / name).read_text()) for name in ("tx_bytes", "rx_bytes"))
            counted[machine.name] = CardBytes(received, sent)
    return counted
