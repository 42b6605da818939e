"""What YAML reads without a word, expressions that cannot be evaluated, and faults that are accepted knowingly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from site_inventories import PROJECT, Site, example

from appliance.preflight.cli import preflight


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return example(tmp_path / "site")


@pytest.mark.parametrize("name", ["group_vars/all/storage.yml", "host_vars/store1/own.yaml", "group_vars/ceph_rgw"])
def test_a_key_that_stands_twice_is_named_with_file_and_lines(site: Site, name: str) -> None:
    path = site.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\nceph_osd_up_timeout: 60\n\nceph_osd_up_timeout: 120\n")
    (fault,) = site.faults()
    assert (fault.variable, fault.value) == ("ceph_osd_up_timeout", f"{path}, lines 2 and 4")


def test_a_key_that_stands_twice_inside_of_a_value_is_named_too(site: Site) -> None:
    path = site.root / "group_vars/all/accounts.yml"
    path.write_text(path.read_text().replace("{name: bob, uid: 2002}", "{name: bob, uid: 2002, uid: 2003}"))
    assert [fault.variable for fault in site.faults()] == ["uid"]


def test_the_same_key_in_two_mappings_is_none(site: Site) -> None:
    (site.root / "group_vars/all/more.yml").write_text(
        "base: &base {a: 1}\nmine: {<<: *base, a: 2}\nothers: [{a: 1}, {a: 1}]\n"
    )
    assert site.faults() == []


def test_a_number_and_its_text_are_two_keys(site: Site) -> None:
    (site.root / "group_vars/all/more.yml").write_text("my_ports: {1: a, '1': b}\n")
    assert site.faults() == []


def test_what_is_encrypted_is_not_looked_at(site: Site) -> None:
    (site.root / ".vault-kept").write_text("a: 1\na: 2\n")
    request = site.request()
    (site.root / "group_vars/all/kept.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\na: 1\na: 2\n")
    assert run(request)[0] == 0


def run(request: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(preflight, ["--project", str(PROJECT)], input=json.dumps(request))
    return done.exit_code, done.stdout, done.stderr


def test_a_fault_is_accepted_by_its_variable_and_value(site: Site) -> None:
    site.change(ceph_rgw_data_min_size=1, gateway_workers_max=0)
    code, shown, _ = run(site.request())
    assert code == 1
    assert shown.startswith("2 faults")
    site.change(ceph_rgw_data_min_size=1, gateway_workers_max=0, preflight_accepted={"ceph_rgw_data_min_size": 1})
    code, shown, accepted = run(site.request())
    assert (code, shown[:7]) == (1, "1 fault")
    assert accepted == "accepted: ceph_rgw_data_min_size = 1 (the site)\n"


def test_another_value_of_the_same_variable_is_a_fault_again(site: Site) -> None:
    site.change(ceph_rgw_data_min_size=0, preflight_accepted={"ceph_rgw_data_min_size": [1, 2]})
    assert [(fault.variable, fault.value) for fault in site.faults()] == [("ceph_rgw_data_min_size", "0")]


def test_a_fault_of_one_machine_is_accepted_there(site: Site) -> None:
    site.change(closed_ports_first_open=100)
    site.change(host="store1", preflight_accepted={"closed_ports_first_open": 100})
    hosts = {fault.host for fault in site.faults() if fault.variable == "closed_ports_first_open"}
    assert hosts == {"head1", "store2", "store3", "store4", "store5", "store6"}


def test_nothing_of_a_secret_that_has_not_its_form_is_shown(site: Site) -> None:
    site.change(jupyterhub_cookie_secret="canary-secret", own_certificate_pem="-----BEGIN PRIVATE KEY-----canary")
    request = site.request()
    assert "canary-secret" not in json.dumps(request)
    code, shown, accepted = run(request)
    assert code == 1
    assert "canary" not in shown + accepted


def test_an_error_in_a_secrets_expression_is_told_without_its_words(site: Site) -> None:
    site.change(jupyterhub_cookie_secret="{{ 'canary' | no_such_filter }}")
    assert "canary" not in json.dumps(site.request())
    assert {fault.variable for fault in site.faults()} == {"jupyterhub_cookie_secret"}
