"""What roles write and run, rendered by Ansible itself: real defaults, vars, tasks, handlers and templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible import context
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.role import Role
from ansible.playbook.role.include import RoleInclude
from ansible.playbook.task import Task
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

PROJECT = Path(__file__).parents[3]
INVENTORY = PROJECT / "inventories/example"
KEY = "c3NoLWVkMjU1MTkgQUFBQQ=="  # "ssh-ed25519 AAAA"
MACHINE = {
    "hostname": "store1",
    "distribution": "Debian",
    "distribution_release": "trixie",
    "date_time": {"epoch": "0"},
    "virtualization_tech_guest": [],
}
BUILT = {"item": {"name": "analysis", "key": "0"}, "stdout_lines": ["/nix/store/0-analysis"]}
# What the vault holds, what other roles pass on, and what tasks have registered by the time that a value is used.
# A role that needs one more says so by name when it is rendered.
GIVEN: dict[str, Any] = {
    "ansible_managed": "Ansible managed",
    "ceph_fsid": "0f6a3f0e-0000-4000-8000-000000000001",
    "ceph_mon_key": "monitors' key",
    "ceph_admin_key": "admin's key",
    "accounts_passwords": {"alice": "of alice", "bob": "of bob"},
    "jupyterhub_cookie_secret": "a secret",
    "jupyterhub_proxy_token": "a token",
    "certificates_ca_certificate": "the authority",
    "certificates_ca_key": "its key",
    "node_base_time_servers": ["10.20.0.1"],
    "ceph_client_entities": {"client.x": {"mon": "allow r"}},
    "ceph_client_entity": "client.x",
}
REGISTERED: dict[str, Any] = {
    "__ceph_common_policy": {"stdout": "ceph-common:\n  Installed: (none)\n  Candidate: 20.2.4\n", "rc": 0},
    "__catalogue_s3": {"credentials": {"appliance-catalogue": "its keys"}, "taken": {}},
    "__scratch_s3": {"credentials": {"appliance-scratch": "its keys"}, "taken": {}},
    "__scratch_left": {"stat": {"exists": True}},
    "__ceph_client_auth": {"keys": {"client.x": "x"}},
    "__accounts_operator": {"stdout_lines": ["root", "root"]},
    "__accounts_pam": {"content": ""},
    "__accounts_closed": {"stdout": ""},
    "__accounts_made": {"unlisted": ["zoe"], "waiting": []},
    "__leaving_asked": {"user_input": "zoe"},
    "__leaving_files": {"files": 1},
    "__leaving_buckets": {"buckets": []},
    "__ceph_s3_users_made": {"credentials": {"alice": "of alice"}, "taken": {"bob": "alice"}, "kept": {}},
    "__certificates_one": {"file": "machine.pem", "names": ["head1"], "addresses": ["10.20.0.11"]},
    "__certificates_older": {"restarted": []},
    "__certificates_present": {"content": "Y2VydA=="},
    "__certificates_read": {"valid_at": {"renewal": True}},
    "__certificates_request": {"csr": "a request", "skipped": False},
    "__certificates_signed": {"certificate": "a certificate", "skipped": False},
    "__own_certificate_read": {
        "not_after": "20301231235959Z",
        "valid_at": {"now": True, "soon": True},
        "subject_alt_name": ["DNS:hub.example.org"],
        "public_key_fingerprints": {"sha256": "x"},
    },
    "__own_certificate_key_read": {"public_key_fingerprints": {"sha256": "x"}},
    "__own_certificate_chain": {"complete_chain": []},
    # What Ansible tells a rescue of.
    "ansible_failed_task": {"name": "a task"},
    "ansible_failed_result": {"msg": "failed"},
    "__closed_ports_now": {"stdout_lines": ["1024", "32768\t60999"]},
    "__compute_node_key": {"content": KEY},
    "__environment_described": {"stdout": '{"environments": [{"name": "analysis", "store_path": "/nix/store/0"}]}'},
    "__environment_links": {"results": [{"item": "analysis", "stat": {"exists": False}}]},
    "__environment_depot": {
        "missing": ["analysis"],
        "environments": [{"name": "analysis", "manifest": str(PROJECT / "environments/build.lock"), "key": "0"}],
        "expression": str(PROJECT / "environments/environment.nix"),
        "incoming": "/depot/incoming",
        "public_key": "depot:key",
    },
    "__environment_paths": {"analysis": "", "services": ""},
    "__environment_here": {"analysis": "", "services": ""},
    "__environment_built": {"results": [BUILT]},
    "__firewall_program": {"stat": {"exists": True}},
    "__firewall_state": {"stdout": "differ"},
    "__gateway_host_keys": {"results": [{"item": "store1", "content": KEY}]},
    "__gateway_link": {"stat": {"exists": False}},
    "__https_front_ipv6": {"stat": {"exists": True}},
    "__jupyterhub_link": {"stat": {"exists": False}},
    "__placement_link": {"stat": {"exists": False}},
    "__node_base_written": {"written": []},
    "__node_base_state": {"stdout": "installed acl\nlists 0", "stdout_lines": ["installed acl", "lists 0"]},
    "__ceph_osd_checked": {"osds": [], "pending": [], "uuids": []},
    "__own_listeners_program": {"stat": {"exists": True}},
    "__own_listeners_tables": {"stdout_lines": ["table inet appliance_listeners"]},
    "__placement_s3": {"credentials": "keys", "data_pools": {"default-placement": "default.rgw.buckets.data"}},
    "__preflight_variables": {"stdout": '{"public": [], "secret_patterns": {}, "defaults": []}'},
    "__preflight_live": {"facts": {}},
    "__preflight_verdict": {"stdout": "", "stderr_lines": []},
    "__verify_report": {"stdout": ""},
    "__ceph_rgw_host": "store1",
}
WRITES_NOTHING = ("validate_argument_spec", "meta", "assert")


class RenderedRoles:
    """All roles of the project for the example inventory, with ``changed`` variables as the operator sets them."""

    def __init__(self, changed: Mapping[str, Any]) -> None:
        if not AnsibleCollectionConfig.collection_finder:
            init_plugin_loader([])
        context.CLIARGS = ImmutableDict(connection="local", tags=["all"], skip_tags=[], check=False, diff=False)
        self._loader = DataLoader()
        self._inventory = InventoryManager(self._loader, sources=[str(INVENTORY)])
        for name, value in {**GIVEN, **REGISTERED}.items():
            self._inventory.groups["all"].set_variable(name, value)
        self._variables = VariableManager(self._loader, self._inventory)
        # Its own: Ansible gives each manager of a process the same dictionary.
        self._variables._extra_vars = {**self._variables.extra_vars, **changed}
        self._hostvars = HostVars(self._inventory, self._variables, self._loader)
        play = {"name": "render", "hosts": "all", "roles": []}
        self._play = Play.load(play, variable_manager=self._variables, loader=self._loader)

    def text(self, name: str) -> str:
        """Return, as JSON, what Ansible makes of a role's variables, its tasks' arguments and its templates."""
        group = self._inventory.groups.get(name)
        # One machine of the role's group; a head and a storage machine where there is no such group.
        hosts = [group.get_hosts()[0].name] if group else ["head1", "store1"]
        rendered: list[Any] = []
        for role, tasks in self._parts(name):
            for host in hosts:
                rendered += [found for task in tasks for found in self._of_task(task, host)]
                rendered.append(self._variables_of(role, tasks, host))
        return json.dumps(rendered, default=str)

    def _parts(self, name: str) -> Iterator[tuple[Role, list[Task]]]:
        """Yield the role as each of its task files begins it: `main`, and what is included on the way only."""
        folder = PROJECT / "roles" / name / "tasks"
        seen: set[str] = set()
        for path in sorted(folder.glob("*.yml"), key=lambda path: path.stem != "main"):
            if str(path) in seen:
                continue
            include = RoleInclude.load(
                name, play=self._play, variable_manager=self._variables, loader=self._loader, current_role_path=None
            )
            role = Role.load(include, self._play, from_files={"tasks": path.stem}, validate=False)
            blocks = [*role.compile(self._play), *role.get_handler_blocks(self._play)]
            tasks = [task for block in blocks for task in _tasks(block) if task._role is role]
            seen.update(str(task.get_path()).rpartition(":")[0] for task in tasks)
            yield role, [task for task in tasks if task.action.rpartition(".")[2] not in WRITES_NOTHING]

    def _variables_of(self, role: Role, tasks: list[Task], host: str) -> dict[str, Any]:
        templar = Templar(self._loader, variables=self._given(tasks[0], host))
        names = [name for name in {**role._default_vars, **role._role_vars} if name not in REGISTERED]
        return {name: templar.template(trust_as_template(f"{{{{ {name} }}}}")) for name in names}

    def _given(self, task: Task, host: str) -> dict[str, Any]:
        found = self._variables.get_vars(play=self._play, host=self._inventory.get_host(host), task=task)
        return {
            **found,
            "hostvars": self._hostvars,
            "ansible_facts": MACHINE,
            "ansible_search_path": task.get_search_path(),
        }

    def _of_task(self, task: Task, host: str) -> Iterator[Any]:
        variables = self._given(task, host)
        items = Templar(self._loader, variables=variables).template(task.loop) if task.loop else [None]
        name = task.loop_control.loop_var if task.loop else "no_item"
        for item in items:
            templar = Templar(self._loader, variables={**variables, str(name): item})
            done = {"task": task.name, "args": templar.template(task.args), "vars": templar.template(task.vars)}
            done["environment"] = templar.template(task.environment)
            yield done


def _tasks(block: Block) -> Iterator[Task]:
    """Yield all tasks of a block, those of its inner blocks included."""
    for entry in [*block.block, *block.rescue, *block.always]:
        if isinstance(entry, Block):
            yield from _tasks(entry)
        else:
            yield entry
