#!/usr/bin/python3
"""Ansible module: wait until the cluster says that its OSDs are up."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster

DOCUMENTATION = r"""
module: ceph_osds_up
short_description: Wait until the cluster says that OSDs are up
description: Asks the monitors once a second, where the admin key is.
options:
  ids: {description: Numbers of the OSDs., type: list, elements: int, required: true}
  timeout: {description: Seconds to wait., type: int, default: 120}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Wait for two OSDs
  ceph_osds_up: {ids: [0, 1]}
"""
RETURN = r"""
waited:
  description: Seconds that it took.
  returned: always
  type: int
"""


def main() -> None:
    """Ask the monitors once a second until all OSDs are up; after ``timeout`` seconds fail and name the missing."""
    module = AnsibleModule(
        argument_spec={
            "ids": {"type": "list", "elements": "int", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    cluster = Cluster(module.run_command)
    start = time.monotonic()
    missing = sorted(module.params["ids"])
    try:
        while missing:
            up = {osd["osd"] for osd in cluster.ask("osd dump")["osds"] if osd["up"]}
            missing = sorted(set(module.params["ids"]) - up)
            if missing and time.monotonic() - start > module.params["timeout"]:
                module.fail_json(
                    msg=f"osd.{', osd.'.join(map(str, missing))} did not report to the monitors within "
                    f"{module.params['timeout']} s. Way out: `journalctl -u ceph-osd@{missing[0]}` on its machine "
                    f"(`ceph osd find {missing[0]}`)."
                )
            if missing:
                time.sleep(1)
    except CephError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, waited=int(time.monotonic() - start))


if __name__ == "__main__":
    main()
