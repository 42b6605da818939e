#!/usr/bin/python3
"""Ansible module: an S3 user who may read buckets' records and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster

DOCUMENTATION = r"""
module: rgw_bucket_reader
short_description: Make sure of an S3 user who may read buckets' records and nothing else
description:
  - Runs where the admin key is. The keys come back in C(credentials), so the task needs C(no_log).
  - The user can make no buckets of its own. A user that exists keeps its keys.
  - Also tells the zone's data pools, since that is asked in the same place.
options:
  name: {description: Name of the user., type: str, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make the S3 user of the placement service
  rgw_bucket_reader:
    name: appliance-placement
  no_log: true
"""
RETURN = r"""
credentials:
  description: An AWS credentials file's text; empty where the user is only planned (check mode).
  returned: always
  type: str
data_pools:
  description: The data pool of each placement rule, C(RULE) and C(RULE/STORAGE_CLASS).
  returned: always
  type: dict
"""

CAPS = [{"type": "buckets", "perm": "read"}]
NO_BUCKETS = -1
STANDARD = "STANDARD"
CREDENTIALS = "[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"


def data_pools(zone: dict[str, Any]) -> dict[str, str]:
    """The pools of each placement rule, from `radosgw-admin zone get`; a class without one has the standard one's."""
    pools: dict[str, str] = {}
    for entry in zone["placement_pools"]:
        classes = entry["val"]["storage_classes"]
        standard = classes.get(STANDARD, {}).get("data_pool", "")
        for name, value in classes.items():
            pools[f"{entry['key']}/{name}"] = value.get("data_pool") or standard
        pools[entry["key"]] = standard
    return {rule: pool for rule, pool in sorted(pools.items()) if pool}


def steps(name: str, present: dict[str, Any] | None) -> list[list[str]]:
    """The commands of radosgw-admin that make the user what it should be, given what it is (None: not there)."""
    if present is None:
        create = ["user", "create", "--uid", name, "--display-name", name, "--caps", "buckets=read"]
        return [[*create, f"--max-buckets={NO_BUCKETS}"]]
    wanted: list[list[str]] = []
    if present["max_buckets"] != NO_BUCKETS:
        wanted.append(["user", "modify", "--uid", name, f"--max-buckets={NO_BUCKETS}"])
    surplus = [cap for cap in present["caps"] if cap not in CAPS]
    if surplus:
        text = ";".join(f"{cap['type']}={cap['perm']}" for cap in surplus)
        wanted.append(["caps", "rm", "--uid", name, "--caps", text])
    if surplus or not present["caps"]:
        wanted.append(["caps", "add", "--uid", name, "--caps", "buckets=read"])
    return wanted


def main() -> None:
    """Make the user, with no right too many; return its credentials and the zone's data pools."""
    module = AnsibleModule(argument_spec={"name": {"type": "str", "required": True}}, supports_check_mode=True)
    name: str = module.params["name"]
    if module.check_mode and not Path("/etc/ceph/ceph.conf").exists():
        # On bare machines there is no cluster to ask, and all is still to be made.
        module.exit_json(changed=True, credentials="", data_pools={})
    cluster = Cluster(module.run_command)
    try:
        pools = data_pools(cluster.rgw("zone", "get"))
        present = cluster.rgw("user", "info", "--uid", name) if name in cluster.rgw("user", "list") else None
        wanted = steps(name, present)
        if not module.check_mode:
            for step in wanted:
                cluster.rgw(*step)
            present = cluster.rgw("user", "info", "--uid", name) if wanted else present
        key = next((key for key in (present or {}).get("keys", []) if key["user"] == name), None)
        if key is None and not module.check_mode:
            raise CephError(f"S3 user {name} has no key; `radosgw-admin key create --uid {name}` makes one")
    except CephError as error:
        module.fail_json(msg=str(error))
    credentials = CREDENTIALS.format(access=key["access_key"], secret=key["secret_key"]) if key else ""
    module.exit_json(changed=bool(wanted), credentials=credentials, data_pools=pools)


if __name__ == "__main__":
    main()
