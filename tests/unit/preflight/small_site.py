"""A small site with one role of each kind, and a sound request about it that tests spoil in one place each."""

from __future__ import annotations

from typing import Any

FILES = {
    "site.yml": "- import_playbook: playbooks/all.yml\n",
    "playbooks/all.yml": """
- hosts: all
  roles: [accounts, firewall]
- hosts: ceph_osd:ceph_rgw
  roles:
    - role: ceph_osd
- hosts: ceph_rgw
  roles: [ceph_rgw]
- hosts: jupyterhub
  vars: {hub_given: 1}
  roles:
    - {role: jupyterhub, vars: {hub_passed: 1}}
""",
    "roles/accounts/meta/argument_specs.yml": """
argument_specs:
  main:
    options:
      accounts_users: {type: list, required: true, description: The researchers. As a list.}
      accounts_groups: {type: list, description: Their groups.}
      accounts_name_pattern: {type: str, description: What a name is.}
      accounts_passwords: {type: dict, required: true, description: From the vault.}
""",
    "roles/accounts/defaults/main.yml": 'accounts_name_pattern: "[a-z][a-z0-9-]{1,30}[a-z0-9]"\n',
    "roles/ceph_osd/meta/argument_specs.yml": """
argument_specs:
  main:
    options:
      ceph_fsid: {type: str, required: true, description: The cluster's id.}
      ceph_osd_devices: {type: list, required: true, description: The disks of the machine.}
      machine_address: {type: str, required: true, description: The address.}
""",
    "roles/ceph_osd/defaults/main.yml": """
ceph_osd_name: "{{ inventory_hostname }}"
ceph_osd_copies: "{{ ceph_rgw_data_size }}"
ceph_osd_region: "{{ site.region }}"
ceph_osd_key: "{{ ceph_boot_key }}"
""",
    "roles/ceph_rgw/meta/argument_specs.yml": """
argument_specs:
  main:
    options:
      ceph_rgw_data_size: {type: int, default: 3, description: Copies.}
""",
    "roles/ceph_rgw/defaults/main.yml": "ceph_rgw_data_size: 3\n",
    "roles/jupyterhub/meta/argument_specs.yml": """
argument_specs:
  main:
    options:
      jupyterhub_cookie_secret: {type: str, required: true, description: Signs cookies.}
      jupyterhub_log: {type: str, choices: [info, debug], default: info, description: How much is logged.}
      jupyterhub_tasks: {type: int, default: 8, description: Processes.}
      jupyterhub_debug: {type: bool, default: false, description: Tell more.}
      jupyterhub_settings: {type: dict, default: {}, description: More of them.}
      jupyterhub_log_in: {type: str, default: pam, description: Who says who somebody is.}
      jupyterhub_ldap_server: {type: str, default: "", description: Its name.}
      jupyterhub_ldap_user_dn: {type: str, default: "", description: An entry.}
      jupyterhub_ldap_group_filter: {type: str, default: "(member={userdn})", description: What finds a member.}
      jupyterhub_ldap_groups: {type: dict, default: {}, description: Groups by the directory's.}
      jupyterhub_oidc_issuer: {type: str, default: "", description: Its address.}
      jupyterhub_oidc_client_id: {type: str, default: "", description: Our name there.}
      jupyterhub_oidc_client_secret: {type: str, no_log: true, default: "", description: From the vault.}
      jupyterhub_oidc_groups: {type: dict, default: {}, description: Groups by the provider's.}
      jupyterhub_ingest_sources: {type: list, default: [], description: What is fetched.}
      jupyterhub_ingest_networks: {type: list, default: [], description: Where names lead.}
      hub_given: {type: int, required: true, description: Set by the play.}
      hub_passed: {type: int, required: true, description: Set with the role.}
      hub_path: {type: path, required: true, description: Set by a task.}
""",
    "roles/jupyterhub/defaults/main.yml": """
jupyterhub_ldap_group_filter: "(member={userdn})"
jupyterhub_ingest_sources: []
jupyterhub_ingest_networks: []
""",
    "roles/jupyterhub/meta/values.yml": """
dropped: [jupyterhub_gateway_token]
values:
  jupyterhub_cookie_secret: {pattern: "[0-9a-f]{64}", give: 64 hexadecimal digits}
  jupyterhub_oidc_client_secret: {pattern: "[!-~]+", give: what they gave you, where: {jupyterhub_log_in: oidc}}
""",
    "roles/jupyterhub/tasks/main.yml": """
- block:
    - ansible.builtin.set_fact:
        hub_path: /somewhere
    - name: A secret of Ansible's
      ansible.builtin.debug:
        msg: !unsafe "{{ kept }}"
""",
}
FILES |= {
    "roles/firewall/meta/argument_specs.yml": """
argument_specs:
  main:
    options:
      firewall_users_networks: {type: list, default: [], description: Whose the hub is.}
      firewall_operators_networks: {type: list, default: [], description: Who uses ssh.}
      firewall_monitoring_networks: {type: list, default: [], description: Who watches.}
      firewall_machines_networks: {type: list, default: [], description: Further addresses.}
      firewall_researchers_networks: {type: list, default: [], description: Where else researchers connect to.}
      firewall_resolvers: {type: list, default: [], description: Name servers.}
      firewall_site_listeners: {type: list, default: [], description: Others.}
      firewall_trial_seconds: {type: int, default: 60, description: How long a trial lasts.}
""",
    "roles/firewall/defaults/main.yml": """
firewall_users_networks: [0.0.0.0/0, "::/0"]
firewall_operators_networks: [0.0.0.0/0, "::/0"]
firewall_monitoring_networks: []
firewall_machines_networks: []
firewall_researchers_networks: []
firewall_resolvers: []
firewall_site_listeners: []
firewall_trial_seconds: 60
""",
    "roles/accounts/meta/main.yml": "dependencies: [site_facts]\n",
    "roles/jupyterhub/meta/main.yml": "dependencies:\n  - role: site_facts\n",
    "roles/site_facts/meta/argument_specs.yml": """
argument_specs:
  facts:
    options:
      jupyterhub_public_port: {type: int, default: 8000, description: Port.}
      jupyterhub_hub_port: {type: int, default: 8081, description: Port.}
      s3_endpoint_port: {type: int, default: 7481, description: Port.}
      ceph_osd_port_min: {type: int, default: 6800, description: Port.}
      ceph_osd_port_max: {type: int, default: 7299, description: Port.}
      compute_node_port_min: {type: int, default: 20000, description: Port.}
      compute_node_port_max: {type: int, default: 24999, description: Port.}
      accounts_uid_min: {type: int, default: 2000, description: Lowest uid.}
      accounts_uid_max: {type: int, default: 59999, description: Highest uid.}
""",
    "roles/site_facts/defaults/main.yml": """
jupyterhub_public_port: 8000
jupyterhub_hub_port: 8081
s3_endpoint_port: 7481
ceph_osd_port_min: 6800
ceph_osd_port_max: 7299
compute_node_port_min: 20000
compute_node_port_max: 24999
accounts_uid_min: 2000
accounts_uid_max: 59999
""",
    "roles/site_facts/vars/main.yml": """
__site_facts_listeners:
  - variable: jupyterhub_public_port
    what: JupyterHub
    group: jupyterhub
    protocol: tcp
    from: [users]
    units: [jupyterhub-proxy]
  - {variable: jupyterhub_hub_port, what: inner, group: jupyterhub, protocol: tcp, from: [], units: [jupyterhub]}
  - {variable: s3_endpoint_port, what: the S3 endpoint, group: all, protocol: tcp, from: [], units: [haproxy]}
  - {port: 3300, what: monitors, group: ceph_mon, protocol: tcp, from: [all], units: [ceph-mon@]}
  - variable: ceph_osd_port_min
    last: ceph_osd_port_max
    what: OSDs
    group: ceph_osd
    protocol: tcp
    from: [all]
    units: [ceph-osd@]
  - variable: compute_node_port_min
    last: compute_node_port_max
    what: workers
    group: compute_node
    protocol: tcp
    from: [compute_node]
    unprivileged: true
    units: [dask-]
""",
}
for _role in ("ceph_mon", "ceph_mgr", "ceph_rgw", "compute_node", "placement", "gateway", "builder"):
    FILES[f"roles/{_role}/tasks/main.yml"] = "[]\n"

FSID = "0f6a3f0e-0000-4000-8000-000000000001"
STORES = ["store1", "store2", "store3"]


def facts(number: int) -> dict[str, Any]:
    """What a sound machine says."""
    return {
        "os_id": "debian", "os_version": "13", "machine": "x86_64", "machine_id": f"id{number}", "systemd": True,
        "memory_bytes": 8 * 2**30, "free_bytes": 50 * 2**30, "clock_offset_seconds": 0.4,
        "addresses": {f"10.0.0.{number}": True}, "ports": {},
        "urls": [{"variable": "depot_url", "url": "http://10.0.0.1/x", "error": ""}],
        "users": [{"name": "alice", "uid": 2001, "uid_of_name": None, "name_of_uid": None}],
        "groups": [{"name": "climate", "gid": 3001, "gid_of_name": None, "name_of_gid": None}],
        "disks": {f"/dev/disk/by-id/disk{number}": {"state": "empty", "reason": "", "fix": ""}} if number > 1 else {},
    }  # fmt: skip


def sound() -> dict[str, Any]:
    hosts = ["head1", *STORES]
    values: dict[str, dict[str, Any]] = {
        host: {
            "machine_address": f"10.0.0.{number}",
            "ceph_fsid": FSID,
            "accounts_groups": [{"name": "climate", "gid": 3001}],
            "accounts_users": [{"name": "alice", "uid": 2001, "groups": ["climate"]}],
            **({"ceph_osd_devices": [f"/dev/disk/by-id/disk{number}"]} if host != "head1" else {}),
        }
        for number, host in enumerate(hosts, start=1)
    }
    groups = dict.fromkeys(("ceph_mon", "ceph_mgr", "ceph_osd", "ceph_rgw", "compute_node", "placement"), STORES)
    groups |= {name: ["head1"] for name in ("gateway", "jupyterhub", "builder")}
    return {
        "groups": {"all": hosts, "ungrouped": [], "storage": STORES, **groups},
        "names": {
            host: [*found, "accounts_passwords", "jupyterhub_cookie_secret", "site", "ceph_boot_key"]
            for host, found in values.items()
        },
        "hostvars": values,
        "live": {host: facts(number) for number, host in enumerate(hosts, start=1)},
        "password_names": ["alice"],
    }
