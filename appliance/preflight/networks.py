"""Checks of names, networks and listeners: of what the DNS and the firewall are to know."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from appliance.http_sources import RefusedError, beginning
from appliance.preflight.facility import Facility, whole_number
from appliance.preflight.fault import Fault
from appliance.preflight.static import HOST_NAME

NETWORKS = (
    "firewall_users_networks",
    "firewall_operators_networks",
    "firewall_monitoring_networks",
    "firewall_machines_networks",
    "firewall_researchers_networks",
    "firewall_resolvers",
    "jupyterhub_ingest_networks",
)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PORTS = range(1, 65536)
PROTOCOLS = ("tcp", "udp")
LISTENER = {"port", "protocol", "from"}
# Options of Ceph that give daemons further addresses.
CEPH_NETWORKS = ("cluster_network", "public_network")


# The longest name of DNS (RFC 1035), without what a researcher's name and its dot take.
LONGEST_NAME = 253 - 33


def hub_name(facility: Facility) -> Iterator[Fault]:
    """The hub has a name of DNS, which no address is: names of researchers' servers stand below it."""
    variable = "jupyterhub_name"
    for host in facility.members("jupyterhub"):
        name = str(facility.value(host, variable, "hub.example"))  # a missing one is reported as such
        labels = name.split(".")
        sound = len(name) <= LONGEST_NAME and all(map(HOST_NAME.fullmatch, labels)) and not labels[-1].isdigit()
        if not sound or len(labels) == 1:
            yield Fault(variable, name, "give a name of the site's DNS in lower case, such as hub.example.org", host)


def public_name(facility: Facility) -> Iterator[Fault]:
    """What is published has a name apart from the hub's: cookies of a page there count for names above and below it."""
    variable = "catalogue_public_name"
    for host in facility.members("jupyterhub"):
        name = str(facility.value(host, variable, ""))
        hub = str(facility.value(host, "jupyterhub_name", "hub.example"))
        if not name:
            continue
        labels = name.split(".")
        sound = len(name) <= LONGEST_NAME and all(map(HOST_NAME.fullmatch, labels)) and not labels[-1].isdigit()
        if not sound or len(labels) == 1:
            yield Fault(variable, name, "give a name of the site's DNS in lower case, such as data.example.org", host)
        elif name == hub or name.endswith(f".{hub}") or hub.endswith(f".{name}"):
            fix = f"give a name that is neither {hub} nor below or above it, such as data.{hub.partition('.')[2]}"
            yield Fault(variable, name, fix, host)


def networks(facility: Facility) -> Iterator[Fault]:
    """Each network is one, and operators have one that they come from."""
    for variable in NETWORKS:
        for host in facility.hosts_of(variable):
            found = facility.value(host, variable)
            if not isinstance(found, list):
                continue  # a value of another type is reported as such
            for number, network in enumerate(found):
                yield from _network(f"{variable}[{number}]", network, host)
            if not found and variable == "firewall_operators_networks":
                fix = 'name the control host\'s network, or [0.0.0.0/0, "::/0"]: without one nobody could use ssh'
                yield Fault(variable, "[]", fix, host)


def ingest_sources(facility: Facility) -> Iterator[Fault]:
    """What is fetched over HTTP begins with an address each, and researchers' processes reach it."""
    variable, way = "jupyterhub_ingest_sources", "firewall_researchers_networks"
    for host in facility.members("jupyterhub"):
        reached = [network for network in map(_parsed, _listed(facility.value(host, way))) if network]
        sound = []
        for number, text in enumerate(_listed(facility.value(host, variable))):
            try:
                sound.append(beginning(str(text)))
            except RefusedError as error:
                yield Fault(f"{variable}[{number}]", str(text), str(error), host)
        for place in sound:
            if place.address and not any(place.address in network for network in reached):
                fix = f"name it in {way} of all machines: else no process of a researcher reaches it"
                yield Fault(variable, place.host, fix, host)
        if sound and not reached and not all(place.address for place in sound):
            names = ", ".join(sorted({place.host for place in sound if not place.address}))
            yield Fault(way, "[]", f"name the networks of {names}: else no process of a researcher reaches them", host)


def site_listeners(facility: Facility) -> Iterator[Fault]:
    """Each listener of the site's own has a port, a protocol, and networks that may connect."""
    variable = "firewall_site_listeners"
    for host in facility.hosts_of(variable):
        found = facility.value(host, variable)
        for number, listener in enumerate(found if isinstance(found, list) else []):
            name = f"{variable}[{number}]"
            if not isinstance(listener, dict) or not set(listener) >= LISTENER:
                yield Fault(name, str(listener), "write {port: 9100, protocol: tcp, from: [NETWORK]}", host)
                continue
            if whole_number(listener["port"], 0) not in PORTS:
                fix = f"give a port from {PORTS.start} to {PORTS.stop - 1}"
                yield Fault(f"{name}.port", str(listener["port"]), fix, host)
            if listener["protocol"] not in PROTOCOLS:
                yield Fault(f"{name}.protocol", str(listener["protocol"]), f"choose {' or '.join(PROTOCOLS)}", host)
            sources = listener["from"]
            if not isinstance(sources, list) or not sources:
                yield Fault(f"{name}.from", str(sources), "list one or more networks", host)
                continue
            for source in sources:
                yield from _network(f"{name}.from", source, host)


def ceph_networks(facility: Facility) -> Iterator[Fault]:
    """A network that Ceph's daemons are told of is one that machines let each other in from."""
    variable = "ceph_mon_settings"
    for host in facility.members("ceph_mon"):
        sections = facility.value(host, variable)
        known = [*_listed(facility.value(host, "firewall_machines_networks")), facility.value(host, "machine_address")]
        allowed = [network for network in map(_parsed, known) if network]
        for section, options in sections.items() if isinstance(sections, dict) else ():
            for option, value in options.items() if isinstance(options, dict) else ():
                if str(option).replace(" ", "_") not in CEPH_NETWORKS:
                    continue
                for text in str(value).split(","):
                    network = _parsed(text.strip())
                    # This machine's own address in it stands for those of the others.
                    if network and not any(network.overlaps(one) for one in allowed):
                        fix = f"name {network} in firewall_machines_networks: else OSDs would not reach each other"
                        yield Fault(f"{variable}.{section}.{option}", text.strip(), fix, host)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _parsed(text: object) -> Network | None:
    """Return the network that a text means; nothing where it means none, which is reported as such."""
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return None


def _network(variable: str, text: object, host: str) -> Iterator[Fault]:
    """Yield a fault where ``text`` is no address and no network, or one whose address has bits beyond its length."""
    try:
        network = ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        fix = 'give an address or a network, such as 10.20.0.0/24 or "2001:db8::/32"'
        yield Fault(variable, str(text), fix, host)
        return
    if not isinstance(text, str):
        yield Fault(variable, str(text), f"write {str(network)!r} in quotes: this is a number", host)
    elif "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        yield Fault(variable, text, f"write {network}, or the address alone", host)


CHECKS = (hub_name, public_name, networks, ingest_sources, site_listeners, ceph_networks)
