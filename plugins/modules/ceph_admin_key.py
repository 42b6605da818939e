#!/usr/bin/python3
"""Ansible module: the key of client.admin, as the monitors know it."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster, admin_entry

DOCUMENTATION = r"""
module: ceph_admin_key
short_description: Make sure that the monitors know client.admin by a key
description:
  - Runs on a machine with a monitor, and asks with the monitors' own key. So it works where the admin's key that the
    machine has is not the one that the monitors know, too.
options:
  name: {description: The monitor's name., type: str, required: true}
  key: {description: The key of client.admin., type: str, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Have the monitors take the admin's key
  ceph_admin_key:
    name: store1
    key: "{{ ceph_admin_key }}"
"""
RETURN = r"""
entity:
  description: Whose key it is.
  returned: always
  type: str
"""


def main() -> None:
    """Give the monitors the key where they know another one."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    key, keyring = module.params["key"], f"/var/lib/ceph/mon/ceph-{module.params['name']}/keyring"
    try:
        (known,) = Cluster(module.run_command, entity="mon.", keyring=keyring).ask("auth get", entity="client.admin")
    except CephError as error:
        module.fail_json(msg=str(error))
    changed = known["key"] != key
    if changed and not module.check_mode:
        command = ["ceph", "--name", "mon.", "--keyring", keyring, "auth", "import", "--in-file", "-"]
        # By way of standard input: every account can read a command's arguments.
        status, _, err = module.run_command(command, data=admin_entry(key))
        if status != 0:
            module.fail_json(msg=f"the monitors did not take the admin's key: {err.strip()}")
    module.exit_json(changed=changed, entity="client.admin")


if __name__ == "__main__":
    main()
