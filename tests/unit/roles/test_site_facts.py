"""Each fact of the site stands once: with every port, path and limit changed, no role writes an old one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from rendered_roles import PROJECT, RenderedRoles

from appliance.placement.auth.machine_settings import SETTINGS
from appliance.roles.specs import RoleSpecs

DEFAULTS: dict[str, Any] = yaml.safe_load((PROJECT / "roles/site_facts/defaults/main.yml").read_text())
OPTIONS = RoleSpecs.read(PROJECT / "roles/site_facts").options
# Those that are a value of their own; others are made of them, or one of a few words. Small numbers and lists are found
# anywhere.
FACTS = {
    name: value
    for name, value in DEFAULTS.items()
    if ((isinstance(value, int) and value >= 1000) or (isinstance(value, str) and "{{" not in value))
    and "choices" not in OPTIONS[name]
}
CHANGED = {
    name: value + 11111 if isinstance(value, int) else re.sub(r"\w+$", f"changed-{number}", value)
    for number, (name, value) in enumerate(FACTS.items())
}
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir())
USERS = sorted(set(ROLES) - {"site_facts"})
# Those that stand for nothing else wherever they are found.
OLD = {name: value for name, value in FACTS.items() if name.endswith(("_port", "_directory", "_bytes", "_target"))}


def token(value: object) -> re.Pattern[str]:
    """Matches a number or a path where it stands for itself; a path also where it goes on."""
    after = r"(?![\w-])" if isinstance(value, str) else r"(?!\w)"
    return re.compile(rf"(?<![\w.-]){re.escape(str(value))}{after}")


def holds(text: str, facts: dict[str, Any]) -> list[str]:
    return [f"{name} = {value}" for name, value in facts.items() if token(value).search(text)]


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    """What each role writes and runs when all facts are changed."""
    roles = RenderedRoles(CHANGED)
    return {role: roles.text(role) for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
def test_no_old_value_is_in_what_a_role_writes(rendered: dict[str, str], role: str) -> None:
    assert holds(rendered[role], OLD) == []


def test_every_changed_value_is_in_what_some_role_writes(rendered: dict[str, str]) -> None:
    """Else the test above would see nothing of it."""
    text = "".join(rendered.values())
    assert sorted(set(CHANGED) - {found.split(" = ")[0] for found in holds(text, CHANGED)}) == []


@pytest.mark.parametrize("role", USERS)
def test_no_fact_is_written_down_in_another_role(role: str) -> None:
    files = [path for path in (PROJECT / "roles" / role).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    found = {str(path.relative_to(PROJECT)): holds(path.read_text(), OLD) for path in files}
    assert {path: facts for path, facts in found.items() if facts} == {}


def test_no_port_and_no_path_of_the_site_is_written_down_in_python() -> None:
    facts = {name: value for name, value in OLD.items() if name.endswith(("_port", "_directory"))}
    files = sorted((PROJECT / "appliance").rglob("*.py"))
    found = {str(path.relative_to(PROJECT)): holds(path.read_text(), facts) for path in files}
    assert {path: facts for path, facts in found.items() if facts} == {}


@pytest.mark.parametrize("role", USERS)
def test_every_template_is_used_by_its_role(role: str) -> None:
    """So that all of them were rendered above."""
    folder = PROJECT / "roles" / role
    text = "".join(path.read_text() for part in ("tasks", "vars", "handlers") for path in folder.glob(f"{part}/*.yml"))
    named = [path.name for path in sorted(folder.glob("templates/*"))]
    assert [name for name in named if name not in text and name.removesuffix(".j2") not in text] == []


def test_commands_find_the_settings_where_the_role_writes_them(rendered: dict[str, str]) -> None:
    assert f'"path": "{SETTINGS}"' in rendered["s3_endpoint"]
    for line in (
        f"AWS_ENDPOINT_URL=http://127.0.0.1:{CHANGED['s3_endpoint_port']}",
        f"APPLIANCE_PLACEMENT_URL=http://127.0.0.1:{CHANGED['s3_endpoint_placement_port']}",
        f"APPLIANCE_S3_CREDENTIALS={CHANGED['ceph_s3_users_directory']}",
    ):
        assert f"\\n{line}\\n" in rendered["s3_endpoint"]


def test_the_launcher_s_and_the_hub_s_files_hold_the_changed_facts(rendered: dict[str, str]) -> None:
    assert f":{CHANGED['gateway_http_port']}/services/dask-gateway/api" in rendered["compute_node"]
    assert f"{CHANGED['environment_directory']}/services/bin/python -I" in rendered["compute_node"]
    assert f"gateway://head1:{CHANGED['gateway_scheduler_port']}" in rendered["jupyterhub"]
    assert f"http://127.0.0.1:{CHANGED['jupyterhub_hub_port']}/hub/api" in rendered["gateway"]


def test_every_port_is_among_the_closed_ones(rendered: dict[str, str]) -> None:
    """Also one that a site has changed; and the first port after them all is everybody's."""
    (first_open,) = set(re.findall(r"ip_unprivileged_port_start = (\d+)", rendered["closed_ports"]))
    assert int(first_open) == 1 + max(value for name, value in CHANGED.items() if name.endswith("_port"))


def test_a_fact_is_set_by_the_inventory_s_group_vars() -> None:
    """Below all that an inventory says, as defaults are: group_vars beside a playbook would win over the inventory."""
    assert not (PROJECT / "playbooks/group_vars").exists()
    assert not (PROJECT / "group_vars").exists()
    text = RenderedRoles({"s3_endpoint_port": 1}).text("s3_endpoint")
    assert "bind 127.0.0.1:1\\n" in text
