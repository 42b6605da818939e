"""No researcher's process listens at a port of the facility: not beside a service, and not while one is down."""

from __future__ import annotations

import pytest
from intruder import run
from machines import FACILITY, MACHINES, STORES, ask, until

PORTS = {name: int(value) for name, value in FACILITY.facts.items() if name.endswith("_port")}
# Services by unit, with the machine that each is tried on and the fact that names its port.
SERVICES = {
    "appliance-https-front.service": ("head1", "jupyterhub_public_port"),
    "jupyterhub-proxy.service": ("head1", "jupyterhub_proxy_port"),
    "jupyterhub.service": ("head1", "jupyterhub_hub_port"),
    "dask-gateway.service": ("head1", "gateway_http_port"),
    "haproxy.service": (STORES[0], "s3_endpoint_port"),
    "appliance-placement.service": (STORES[0], "placement_port"),
    f"ceph-radosgw@rgw.{STORES[0]}.service": (STORES[0], "ceph_rgw_port"),
}
BIND = """
def bind(family, kind, address, port):
    with socket.socket(getattr(socket, family), getattr(socket, kind)) as own:
        # As an attacker would, who wants to stand beside a service or to take over from it.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == "AF_INET6":
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        own.bind((address, port))
        return own.getsockname()[1]
"""
ADDRESSES = {"AF_INET": ("127.0.0.1", "0.0.0.0"), "AF_INET6": ("::1", "::")}  # noqa: S104  (this is what is refused)


def first_open(machine: str) -> int:
    return int(ask(machine, "sysctl --values net.ipv4.ip_unprivileged_port_start"))


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
@pytest.mark.parametrize("family", ADDRESSES)
@pytest.mark.parametrize("machine", MACHINES)
def test_no_port_of_the_facility_can_be_bound(machine: str, family: str, kind: str) -> None:
    tried = [(family, kind, address, port) for address in ADDRESSES[family] for port in PORTS.values()]
    program = f"{BIND}\nsay([attempt(bind, *each) for each in {tried!r}])"
    assert run(machine, "alice", program) == ["EACCES"] * len(tried)
    # root may, where nothing of that kind is there already; and a researcher has ports of their own.
    assert "EACCES" not in run(machine, "root", program)
    own = first_open(machine)
    program = f"{BIND}\nsay([bind({family!r}, {kind!r}, {ADDRESSES[family][0]!r}, port) for port in (0, {own})])"
    given, chosen = run(machine, "alice", program)
    assert given >= own == chosen


@pytest.mark.parametrize("unit", SERVICES)
def test_a_port_stays_closed_while_its_service_is_down(unit: str) -> None:
    machine, fact = SERVICES[unit]
    program = f"{BIND}\nsay([attempt(bind, family, 'SOCK_STREAM', address, {PORTS[fact]})"
    program += f" for family, addresses in {ADDRESSES!r}.items() for address in addresses])"
    ask(machine, f"systemctl stop {unit}")
    try:
        assert run(machine, "alice", program) == ["EACCES"] * 4
        assert run(machine, "root", program) == [PORTS[fact]] * 4
    finally:
        ask(machine, f"systemctl start {unit}")
    # As a service does that was never stopped: with the right to bind the port, and without being root for it.
    listening = f"ss -Hltn 'sport = :{PORTS[fact]}'"
    until(lambda: ask(machine, listening).strip(), lambda: ask(machine, f"journalctl -u {unit} -n 20 -o cat"))


@pytest.mark.parametrize("machine", MACHINES)
def test_the_kernel_hands_out_ports_of_which_none_is_the_facilitys(machine: str) -> None:
    lowest = int(ask(machine, "sysctl --values net.ipv4.ip_local_port_range").split()[0])
    assert max(PORTS.values()) < first_open(machine) <= lowest


@pytest.mark.parametrize("daemon", ["mon", "mgr", "osd", "radosgw"])
def test_cephs_daemons_bind_their_ports_and_are_root_at_no_moment(daemon: str) -> None:
    machine = STORES[0]
    command = f"systemctl show -p User -p AmbientCapabilities 'ceph-{daemon}@*.service' --state=active"
    blocks = ask(machine, command).strip().split("\n\n")
    shown = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    assert [unit["User"] for unit in shown] == ["ceph"] * len(blocks)
    assert all("cap_net_bind_service" in unit["AmbientCapabilities"].split() for unit in shown)
    # The process that runs now, not only its unit as it was last written: with that one right in the threads that
    # listen, and in none with another.
    pids = f"$(pgrep -x ceph-{daemon} || pgrep -x {daemon})"
    said = ask(machine, f"for pid in {pids}; do ps -o user= -p $pid; cat /proc/$pid/task/*/status; done")
    assert said.split()[0] == "ceph"
    effective = {int(line.split()[1], 16) for line in said.splitlines() if line.startswith("CapEff:")}
    assert effective - {0} == {1 << 10}
