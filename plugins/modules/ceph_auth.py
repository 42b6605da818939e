#!/usr/bin/python3
"""Ansible module: make sure that cephx identities exist with exactly the given capabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster, flat_caps

DOCUMENTATION = r"""
module: ceph_auth
short_description: Make sure that cephx identities exist with exactly the given capabilities
description: Runs where the admin key is. The keys come back in C(keys), so the task needs C(no_log).
options:
  entities:
    description: Capabilities by service, by name of the identity.
    type: dict
    required: true
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make a key that reads the map
  ceph_auth:
    entities:
      client.placement: {mon: allow r}
  no_log: true
"""
RETURN = r"""
keys:
  description: The secret key by name of the identity.
  returned: always
  type: dict
"""


def work_needed(
    wanted: Mapping[str, Mapping[str, str]], present: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[str]]:
    """Which identities to create and which to give other capabilities, each in order of name."""
    create = sorted(name for name in wanted if name not in present)
    change = sorted(name for name in wanted if name in present and dict(wanted[name]) != present[name].get("caps", {}))
    return create, change


def main() -> None:
    """Make identities that are missing, set capabilities that differ, and return the keys of all that are wanted."""
    module = AnsibleModule(
        argument_spec={"entities": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    wanted: dict[str, dict[str, str]] = module.params["entities"]
    cluster = Cluster(module.run_command)
    try:
        present = {entry["entity"]: entry for entry in cluster.ask("auth ls")["auth_dump"]}
        create, change = work_needed(wanted, present)
        if not module.check_mode:
            for prefix, names in (("auth get-or-create", create), ("auth caps", change)):
                cluster.tell([{"prefix": prefix, "entity": name, "caps": flat_caps(wanted[name])} for name in names])
        if create and not module.check_mode:
            present = {entry["entity"]: entry for entry in cluster.ask("auth ls")["auth_dump"]}
    except CephError as error:
        module.fail_json(msg=str(error))
    # A key that is only planned (check mode) is empty: what follows shows its own change then.
    keys = {name: present.get(name, {}).get("key", "") for name in wanted}
    module.exit_json(changed=bool(create or change), created=create, recapped=change, keys=keys)


if __name__ == "__main__":
    main()
