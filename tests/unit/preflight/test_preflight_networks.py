"""What the firewall is told: networks that are none, listeners that are incomplete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.preflight import Fault

Request = dict[str, Any]
Judged = Callable[[Request], list[Fault]]
HOSTS = ["head1", "store1", "store2", "store3"]


def told(request: Request, judged: Judged, **variables: object) -> list[tuple[str, str, str]]:
    for values in request["hostvars"].values():
        values.update(variables)
    found = judged(request)
    assert [fault.host for fault in found] == HOSTS[: len(found)]
    return list(dict.fromkeys((fault.variable, fault.value, fault.fix) for fault in found))


@pytest.mark.parametrize(
    "variable", ["firewall_users_networks", "firewall_operators_networks", "firewall_researchers_networks"]
)
@pytest.mark.parametrize("network", ["facility", "10.0.0.0/33", "10.0.0", "", "fe80::/129", "10.0.0.0/24 or so"])
def test_what_is_no_network_is_a_fault(request_: Request, judged: Judged, variable: str, network: str) -> None:
    (fault,) = told(request_, judged, **{variable: ["10.1.0.0/16", network]})
    assert fault == (f"{variable}[1]", network, 'give an address or a network, such as 10.20.0.0/24 or "2001:db8::/32"')


def test_an_address_that_has_bits_beyond_its_network_is_told_what_was_meant(request_: Request, judged: Judged) -> None:
    (fault,) = told(request_, judged, firewall_users_networks=["10.0.0.7/24"])
    assert fault == ("firewall_users_networks[0]", "10.0.0.7/24", "write 10.0.0.0/24, or the address alone")


def test_a_number_is_no_address_though_python_would_take_it(request_: Request, judged: Judged) -> None:
    (fault,) = told(request_, judged, firewall_resolvers=[167772167])
    assert fault[:2] == ("firewall_resolvers[0]", "167772167")


def test_operators_come_from_somewhere(request_: Request, judged: Judged) -> None:
    (fault,) = told(request_, judged, firewall_operators_networks=[])
    assert fault[:2] == ("firewall_operators_networks", "[]")
    assert "control host" in fault[2]


def test_networks_of_both_kinds_and_no_users_at_all_are_sound(request_: Request, judged: Judged) -> None:
    found = {"firewall_operators_networks": ["10.0.0.7", "2001:db8::/32"], "firewall_users_networks": []}
    assert told(request_, judged, **found) == []


def test_networks_that_are_no_list_are_a_fault(request_: Request, judged: Judged) -> None:
    (fault,) = told(request_, judged, firewall_users_networks="10.0.0.0/8")
    assert fault[:2] == ("firewall_users_networks", "'10.0.0.0/8'")


@pytest.mark.parametrize(
    ("network", "listed", "sound"),
    [
        ("10.0.0.0/16", [], True),  # where the machines' addresses are anyway
        ("10.30.0.0/16", [], False),
        ("10.30.0.0/16", ["10.30.0.0/16"], True),
        ("10.30.0.0/16, fd00::/64", ["10.30.0.0/16"], False),
    ],
)
def test_a_network_of_ceph_s_own_is_known(
    request_: Request, judged: Judged, network: str, listed: list[str], sound: bool
) -> None:
    for values in request_["hostvars"].values():
        values.update(ceph_mon_settings={"osd": {"cluster_network": network}}, firewall_machines_networks=listed)
    told_of = {(fault.variable, fault.value) for fault in judged(request_)}
    assert told_of == (set() if sound else {("ceph_mon_settings.osd.cluster_network", network.split(", ")[-1])})


SOUND = {"port": 9100, "protocol": "tcp", "from": ["10.9.0.0/24"]}


@pytest.mark.parametrize(
    ("listener", "variable"),
    [
        ("9100", ""),
        ({"port": 9100, "protocol": "tcp"}, ""),
        (SOUND | {"port": 0}, ".port"),
        (SOUND | {"port": 65536}, ".port"),
        (SOUND | {"port": "http"}, ".port"),
        (SOUND | {"protocol": "icmp"}, ".protocol"),
        (SOUND | {"from": "10.9.0.0/24"}, ".from"),
        (SOUND | {"from": []}, ".from"),
        (SOUND | {"from": ["monitoring"]}, ".from"),
    ],
)
def test_a_listener_of_the_site_s_that_is_incomplete_is_a_fault(
    request_: Request, judged: Judged, listener: object, variable: str
) -> None:
    (fault,) = told(request_, judged, firewall_site_listeners=[SOUND, listener])
    assert fault[0] == f"firewall_site_listeners[1]{variable}"


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("hub.example.org", True),
        ("hub.rack.test", True),
        ("hub", False),  # browsers take a cookie for no name without a dot
        ("10.20.0.1", False),
        ("Hub.example.org", False),
        ("https://hub.example.org", False),
        ("hub_.example.org", False),
        ("", False),
        (".".join(["a" * 60] * 4), False),
    ],
)
def test_the_hub_has_a_name_of_dns(request_: Request, judged: Judged, name: str, sound: bool) -> None:
    request_["hostvars"]["head1"]["jupyterhub_name"] = name
    told_of = [(fault.variable, fault.value) for fault in judged(request_)]
    assert told_of == ([] if sound else [("jupyterhub_name", name)])


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("", True),
        ("data.example.org", True),
        ("hub.example.org", False),
        ("data.hub.example.org", False),  # a researcher's server would have that name
        ("example.org", False),  # its cookies would count for the hub
        ("data", False),
        ("Data.example.org", False),
        ("10.20.0.1", False),
    ],
)
def test_what_is_published_has_a_name_apart_from_the_hubs(
    request_: Request, judged: Judged, name: str, sound: bool
) -> None:
    request_["hostvars"]["head1"] |= {"jupyterhub_name": "hub.example.org", "catalogue_public_name": name}
    told_of = [(fault.variable, fault.value) for fault in judged(request_)]
    assert told_of == ([] if sound else [("catalogue_public_name", name)])


@pytest.mark.parametrize(
    ("sources", "researchers", "fault"),
    [
        ([], [], None),
        (["https://data.example.org", "http://10.9.0.4:8080/pub/"], ["10.9.0.0/16"], None),
        (["https://data.example.org"], ["192.0.2.0/24"], None),  # which addresses a name has is not known here
        (
            ["https://data.example.org"],
            [],
            ("firewall_researchers_networks", "[]", "name the networks of data.example.org"),
        ),
        (["http://10.9.0.4/"], ["10.8.0.0/16"], ("jupyterhub_ingest_sources", "10.9.0.4", "name it in firewall_")),
        (["data.example.org"], [], ("jupyterhub_ingest_sources[0]", "data.example.org", "is not fetched: no scheme")),
        (
            ["ftp://data.example.org/"],
            [],
            ("jupyterhub_ingest_sources[0]", "ftp://data.example.org/", "is not fetched"),
        ),
        (
            ["https://*.example.org/"],
            [],
            ("jupyterhub_ingest_sources[0]", "https://*.example.org/", "write https://NAME"),
        ),
        ([7], [], ("jupyterhub_ingest_sources[0]", "7", "is not fetched: no scheme")),
    ],
)
def test_what_is_fetched_over_http_is_an_address_that_researchers_reach(
    request_: Request, judged: Judged, sources: list[object], researchers: list[str], fault: tuple[str, str, str] | None
) -> None:
    found = told(request_, judged, jupyterhub_ingest_sources=sources, firewall_researchers_networks=researchers)
    assert [each[:2] for each in found] == ([fault[:2]] if fault else [])
    assert all(each[2].startswith(fault[2]) for each in found if fault)


def test_a_network_to_which_names_may_lead_is_one(request_: Request, judged: Judged) -> None:
    (fault,) = told(request_, judged, jupyterhub_ingest_networks=["10.0.0.0/33"])
    assert fault[:2] == ("jupyterhub_ingest_networks[0]", "10.0.0.0/33")
