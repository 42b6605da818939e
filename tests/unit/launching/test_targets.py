"""A scheduler leads the gateway to itself and nowhere else."""

from __future__ import annotations

import pytest

from appliance.launching.targets import foreign_targets, tls_target

OWN = {
    "scheduler_address": "tls://10.77.0.21:41000",
    "dashboard_address": "http://10.77.0.21:41001",
    "api_address": "http://10.77.0.21:41002",
}


def test_a_schedulers_own_addresses_are_taken() -> None:
    assert foreign_targets(OWN, "10.77.0.21", 8787) == []
    assert foreign_targets({**OWN, "dashboard_address": ""}, "10.77.0.21", 8787) == []
    six = {name: address.replace("10.77.0.21", "[fd00::21]") for name, address in OWN.items()}
    assert foreign_targets(six, "fd00::21", 8787) == []


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
    "changed",
    [
        "://10.77.0.22:41000",  # another machine
        "://127.0.0.1:41000",  # the gateway's own
        "://store1:41000",  # a name, which somebody may point elsewhere
        "://10.77.0.21:7480",  # a service of the facility on the same machine
        "://10.77.0.21:22",
        "://10.77.0.21",
        "://10.77.0.21:99999999",
        "://10.77.0.21:x",
        "://10.77.0.22@10.77.0.21:41000",
        "://10.77.0.21:41000@10.77.0.22",
        "://10.77.0.21:41000/path",
        "://10.77.0.21:41000?query",
        "://10.77.0.21:041000",
        "://10.77.0.21:41000\r\nx",
        "://10.77.0.21:41000 ",
    ],
)
def test_another_address_is_named(name: str, changed: str) -> None:
    scheme = OWN[name].partition(":")[0]
    assert foreign_targets({**OWN, name: scheme + changed}, "10.77.0.21", 8787) == [name]


@pytest.mark.parametrize("value", [None, 7, ["tls://10.77.0.21:41000"], "ftp://10.77.0.21:41000", "10.77.0.21:41000"])
@pytest.mark.parametrize("name", OWN)
def test_what_is_no_address_is_named(name: str, value: object) -> None:
    assert foreign_targets({**OWN, name: value}, "10.77.0.21", 8787) == [name]
    assert foreign_targets({key: told for key, told in OWN.items() if key != name}, "10.77.0.21", 8787) == [name]


def test_a_cluster_of_no_known_host_has_no_addresses() -> None:
    assert foreign_targets(OWN, "", 8787) == ["scheduler_address", "api_address", "dashboard_address"]


def test_a_dashboard_is_reached_over_tls_alone() -> None:
    assert tls_target("http://10.77.0.21:41001") == "tls://10.77.0.21:41001"
