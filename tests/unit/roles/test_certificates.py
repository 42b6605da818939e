"""Which keys a machine has, and which service gets which: the front has the hub's, and all others the machine's."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest
import yaml
from rendered_roles import PROJECT, RenderedRoles

UNIT_OF = {
    "ceph_rgw": "ceph-radosgw@",
    "placement": "appliance-placement",
    "gateway": "dask-gateway",
    "https_front": "appliance-https-front",
}


@cache
def text(role: str, **changed: Any) -> str:
    """What a role writes and runs, for the example's head and a storage machine, or one of the role's own group."""
    return RenderedRoles(changed).text(role)


def arguments(role: str, task: str) -> list[dict[str, Any]]:
    """What a role's tasks of this name are given, by machine."""
    return [done["args"] for done in json.loads(text(role)) if done.get("task") == task]


def kept(**changed: Any) -> list[dict[str, dict[str, Any]]]:
    """The certificates of the example's head, and those of a storage machine, by file."""
    rendered = json.loads(text("certificates", **changed))
    return [
        {one["file"]: one for one in done["__certificates_kept"]} for done in rendered if "__certificates_kept" in done
    ][:2]


def test_the_hubs_names_have_a_key_of_their_own_on_the_hubs_machine() -> None:
    head, store = kept(jupyterhub_name="hub.example.org", machine_address="10.20.0.11")
    assert set(head) == {"machine.pem", "hub.pem"}
    assert head["hub.pem"]["names"] == ["hub.example.org", "*.hub.example.org"]
    assert head["hub.pem"]["addresses"] == []
    assert (head["machine.pem"]["names"], head["machine.pem"]["addresses"]) == (["head1"], ["10.20.0.11"])
    assert set(store) == {"machine.pem"}
    assert store["machine.pem"]["names"] == ["store1"]


def credentials(role: str, **changed: Any) -> set[str]:
    """The files that a role's units load."""
    return set(re.findall(r"LoadCredential=[^:]+:([^\\]+)", text(role, **changed)))


@pytest.mark.parametrize("role", UNIT_OF)
def test_the_hubs_key_is_the_fronts_alone(role: str) -> None:
    own = "hub" if role == "https_front" else "machine"
    loaded = {path for path in credentials(role) if path.startswith("/etc/appliance/tls/")}
    assert loaded == {f"/etc/appliance/tls/{own}.pem", f"/etc/appliance/tls/{own}.pem.key"}


def test_a_front_with_the_sites_own_certificate_has_nothing_of_the_authoritys() -> None:
    """So a certificate that the authority renews restarts it for nobody."""
    loaded = credentials("https_front", own_certificate_pem="its own", own_certificate_key="its key")
    assert loaded == {"/etc/appliance/https-front/hub.pem", "/etc/appliance/https-front/hub.pem.key"}


def test_who_shows_a_certificate_is_compared_with_it() -> None:
    for task in ("Ask which services show an older certificate", "Restart services that show an older certificate"):
        (head, _) = arguments("certificates", task)
        named = [unit["name"] for unit in head["units"]]
        assert [unit for unit in UNIT_OF.values() if not any(name.startswith(unit) for name in named)] == []


# Credentials of these roles' units are in files of these roles.
SECRETS = {"certificates", "https_front", "jupyterhub"}


@pytest.mark.parametrize("role", sorted(SECRETS))
def test_a_credential_is_not_left_to_a_handler(role: str) -> None:
    """A run that ends before its handlers is not made up for: the next finds the files right, and notifies nobody."""
    tasks = [
        task
        for path in sorted((PROJECT / "roles" / role / "tasks").glob("*.yml"))
        for entry in yaml.safe_load(path.read_text())
        for task in [entry, *entry.get("block", [])]
    ]
    secret = [task for task in tasks if "place_files" in task and (task.get("no_log") or role == "certificates")]
    assert secret != []
    assert [task["name"] for task in secret if "notify" in task] == []
    assert [task["name"] for task in tasks if "current_units" in task] != []


def test_the_balancer_is_reloaded_for_all_that_it_reads() -> None:
    (task, *_) = arguments("s3_endpoint", "Have the balancer use the configuration and the authority that are there")
    (unit,) = task["units"]
    written = set(re.findall(r'"path": "(/etc/haproxy/[^"]+)"', text("s3_endpoint")))
    assert set(unit["reloads_for"]) == written


def test_a_renewed_authority_reaches_all_who_check_certificates() -> None:
    plays = yaml.safe_load((PROJECT / "playbooks/secrets.yml").read_text())
    everywhere = [role for play in plays if play["hosts"] == "all" for role in play["roles"]]
    assert [role["role"] for role in everywhere] == ["certificates", "s3_endpoint"]
