#!/usr/bin/python3
"""Ansible module: a monitor's store, made once from the cluster's identity."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import admin_entry

DOCUMENTATION = r"""
module: ceph_mon_store
short_description: Make a monitor's store, if there is none
description:
  - All monitors start from the same keys and the same first map, so each one's store is made on its own.
  - A monitor that is made later joins the quorum that it finds under the addresses.
options:
  name: {description: The monitor's name., type: str, required: true}
  fsid: {description: The cluster's identity., type: str, required: true}
  members: {description: The monitors' addresses by name., type: dict, required: true}
  mon_key: {description: The monitors' common key., type: str, required: true}
  admin_key: {description: The key of client.admin., type: str, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make the monitor's store
  ceph_mon_store:
    name: store1
    fsid: "{{ ceph_fsid }}"
    members: {store1: 10.0.0.21}
    mon_key: "{{ ceph_mon_key }}"
    admin_key: "{{ ceph_admin_key }}"
"""
RETURN = r"""
path:
  description: Where the store is.
  returned: always
  type: str
"""

KEYRING = """[mon.]
\tkey = {mon_key}
\tcaps mon = "allow *"
"""


def addresses(members: Mapping[str, str]) -> list[str]:
    """The arguments that put the members into a map, in order of name: both protocols at their usual ports."""
    arguments = []
    for name in sorted(members):
        arguments += ["--addv", name, f"[v2:{members[name]}:3300,v1:{members[name]}:6789]"]
    return arguments


def main() -> None:
    """Make the store as the account ceph. A whole store is left alone, anything else in its place is refused."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "fsid": {"type": "str", "required": True},
            "members": {"type": "dict", "required": True},
            "mon_key": {"type": "str", "required": True, "no_log": True},
            "admin_key": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    store = Path(f"/var/lib/ceph/mon/ceph-{wanted['name']}")
    # The monitor writes this file last of all when it makes its store.
    if (store / "kv_backend").exists():
        module.exit_json(changed=False, path=str(store))
    if store.exists() and any(store.iterdir()):
        module.fail_json(
            msg=f"{store} holds something, but no monitor's whole store. It may be one that an interrupted run left: "
            "look, move it away, and run again."
        )
    if module.check_mode:
        module.exit_json(changed=True, path=str(store))

    with tempfile.TemporaryDirectory(prefix="ceph-mon-") as scratch:
        keyring, first_map = Path(scratch) / "keyring", Path(scratch) / "monmap"
        keyring.write_text(KEYRING.format(mon_key=wanted["mon_key"]) + admin_entry(wanted["admin_key"]))
        module.run_command(
            ["monmaptool", "--create", "--fsid", wanted["fsid"], *addresses(wanted["members"]), str(first_map)],
            check_rc=True,
        )
        for path in (Path(scratch), keyring, first_map):
            shutil.chown(path, "ceph", "ceph")
        make = ["ceph-mon", "--mkfs", "--id", wanted["name"], "--fsid", wanted["fsid"]]
        make += ["--monmap", str(first_map), "--keyring", str(keyring), "--setuser", "ceph", "--setgroup", "ceph"]
        status, out, err = module.run_command(make)
        if status != 0:
            shutil.rmtree(store, ignore_errors=True)
            module.fail_json(msg=f"ceph-mon could not make {store}: {err or out}")
    module.exit_json(changed=True, path=str(store))


if __name__ == "__main__":
    main()
