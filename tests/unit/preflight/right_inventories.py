"""Right inventories, odd as they are: the example with one change, and nothing to say about it."""

from __future__ import annotations

from typing import Any

ALICE = {"name": "alice", "uid": 2001}

RIGHT: list[dict[str, Any]] = [
    # A site's own variables, of programs of its own, or made of one another.
    {"backup_server": "10.20.0.9", "rack_row": 7, "monitoring_user": "nagios", "ntp_pool": [], "my_hub": {"a": 1}},
    {"site_title": "Lab", "site_name": "{{ site_title }} of the institute"},
    {"hub_port": 8443, "jupyterhub_public_port": "{{ hub_port }}"},
    # Made of a role's own default.
    {"gateway_worker_memory_gib": "{{ gateway_worker_memory_gib_max / 4 }}"},
    {"environment_outgoing": "{{ environment_directory }}/outgoing"},
    # Made of another machine's, of what only some machines have, and of what Ansible learns of a machine later.
    {"first_store": "{{ hostvars['store1'].machine_address }}", "node_base_time_servers": ["{{ first_store }}"]},
    {"ceph_osd_up_timeout": "{{ ceph_osd_devices | length * 30 }}"},
    {"ceph_osd_memory_target": "{{ (ansible_facts['memtotal_mb'] * 2**20 / 8) | int }}"},
    {"half": "{{ ansible_memtotal_mb // 2 }}M", "node_base_compute_memory_max": "{{ half }}"},
    # Of earlier releases' vaults.
    {"gateway_hub_token": "x"},
    # Of a site's own that are like a variable which is set.
    {"machine_addresses": ["10.20.0.21"], "depot_urls": [], "ansible_ssh_private_key": "x", "ansible_sudo_exe": "x"},
    {"node_base_apt_uri": "http://mirror.example.org/debian/", "node_base_apt_security_uri": "file:/srv/security"},
    {"node_base_apt_uri": "mirror+https://mirrors.example.org/list", "node_base_time_servers": ["ntp_1.lab."]},
    {"own_certificate_pem": "subject=CN=hub\n-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n# end\n"},
    {"jupyterhub_cookie_secret": "AB" * 32 + "\n", "jupyterhub_proxy_token": "0123456789abcdef"},
    {"jupyterhub_oidc_client_secret": ""},
    {"accounts_uid_min": 1668600000, "accounts_uid_max": 1668800000, "accounts_researchers_gid": 1668600513,
     "accounts_groups": [{"name": "climate", "gid": 1668600600}],
     "accounts_users": [{"name": "alice", "uid": 1668600001}, {"name": "bob", "uid": 1668600002}]},
    {"preflight_min_memory_mib": 0},
    {"certificates_days": 47, "certificates_renewal_days": 30},
    # Numbers as texts.
    {"ceph_rgw_data_size": "3", "gateway_workers_max": "32", "jupyterhub_subdomains": "no"},
    {"jupyterhub_public_port": 8443, "https_front_redirect_port": 8080},
    {"s3_endpoint_port": 7555},
    {"firewall_ssh_port": 2222, "ansible_port": 2222},
    {"closed_ports_first_open": 1024},
    {"compute_node_port_min": 25000, "compute_node_port_max": 32767},
    {"ceph_rgw_data_size": 2},
    {"ceph_rgw_data_size": 2, "ceph_rgw_data_min_size": 1, "preflight_accepted": {"ceph_rgw_data_min_size": 1}},
    {"ceph_rgw_data_size": 6, "ceph_rgw_data_min_size": 5, "ceph_rgw_pgs_per_osd": 200},
    {"ceph_rgw_chunk_bytes": 33554432},
    {"ceph_mon_settings": {"osd/class:ssd": {"osd_memory_target": 8589934592}, "osd.3": {"osd_max_backfills": 4}}},
    {
        "ceph_mon_settings": {"global": {"cluster_network": "10.21.0.0/24"}},
        "firewall_machines_networks": ["10.21.0.0/24"],
    },
    {"ceph_common_conf": {"client.rgw.store1": {"debug_rgw": "1/5"}}, "ceph_rgw_settings": {"rgw_max_listing": 9}},
    {"ceph_common_release_floor": "20.2.9"},
    {"ceph_mon_messenger_mode": "secure"},
    {"node_base_compute_memory_max": "1.5T", "node_base_compute_researcher_memory_max": "12.5%"},
    {"node_base_storage_weight": 10000, "node_base_compute_weight": 1},
    {"node_base_packages": ["curl", "dbus", "vim-tiny", "linux-image-amd64", "gcc:amd64", "tmux=3.5a-3"]},
    {"node_base_time_servers": ["ntp1.example.org", "10.20.0.1", "2001:db8::1"]},
    {"node_base_apt_uri": "https://mirror.example.org:8443/pub/debian", "node_base_apt_security_uri": ""},
    {"depot_url": "http://[2001:db8::1]:3142"},
    {"ansible_python_interpreter": "/opt/python/bin/python3.13"},
    {"ansible_user": "operator", "ansible_become": True, "ansible_ssh_private_key_file": "/root/key"},
    {"accounts_home": "/srv/homes", "accounts_researchers_group": "scientists", "accounts_researchers_gid": 5000},
    {"accounts_uid_min": 70000, "accounts_uid_max": 80000, "accounts_groups": [],
     "accounts_users": [{"name": "alice", "uid": 70001}, {"name": "bob", "uid": 80000}]},
    {"accounts_users": [ALICE, {"name": "bob", "uid": 2002, "state": "absent", "archive": "/srv/archive"}],
     "accounts_groups": []},
    {"accounts_users": [ALICE, {"name": "alice-scratch", "uid": 2002, "state": "locked"}]},
    {"accounts_users": [ALICE, {"name": "bob-scratch", "uid": 2002, "state": "locked"}], "scratch_days": 30},
    {"accounts_users": [{**ALICE, "s3_gib_max": 0.5, "s3_buckets_max": 1}, {"name": "b-2", "uid": 59999}],
     "accounts_groups": [], "accounts_passwords": {"alice": "x", "b-2": "y"}},
    {"verify_user": "bob", "compute_node_users": ["alice"]},
    {"site_name": "Institut für Meereskunde & Söhne – “Labor” 7"},
    {"gateway_idle_timeout": 0, "gateway_worker_memory_gib": 0.5, "gateway_researcher_workers_max": 8},
    {"jupyterhub_memory_limit": "512M", "jupyterhub_temporary_limit": "64M", "jupyterhub_cpu_limit": 0.5},
    {"gateway_environments": ["/opt/appliance/analysis", "/nix/store/abc-environment"],
     "jupyterhub_environment_link": "/nix/store/abc-environment"},
    {"jupyterhub_log_in": "ldap", "jupyterhub_ldap_server": "ldap.example.org",
     "jupyterhub_ldap_user_dn": "uid={username},ou=people,dc=example,dc=org",
     "jupyterhub_ldap_groups": {"cn=ocean,dc=example": "climate"}},
    {"certificates_days": 90, "certificates_renewal_days": 30},
    {"firewall_site_listeners": [{"port": "9100", "protocol": "tcp", "from": ["10.20.9.0/24", "2001:db8::/32"]}]},
]  # fmt: skip
