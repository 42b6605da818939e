#!/usr/bin/python3
"""Ansible module: the monitors forget OSDs that never started and that no disk holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster
from ansible.module_utils.disk_contents import never_started

DOCUMENTATION = r"""
module: ceph_osd_purge_new
short_description: Purge OSDs that never started and that no disk holds
description:
  - C(ceph-volume) asks the monitors for a number first, which is left over where it is interrupted before it writes to
    the disk.
  - Runs where the admin key is, while nothing makes OSDs. Monitors refuse to purge an OSD that has been up.
options:
  held: {description: The uuids of all OSDs that disks hold., type: list, elements: str, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Purge what an interrupted run left
  ceph_osd_purge_new:
    held: [391e9c3d-df3e-4563-8e9f-b697c4af7728]
"""
RETURN = r"""
purged:
  description: Numbers of the OSDs that were purged, or would be.
  returned: always
  type: list
"""


def leftovers(osds: Sequence[Mapping[str, Any]], held: Collection[str]) -> list[int]:
    """Numbers of the OSDs (of `ceph osd dump`) that never started and whose uuid is not among those that disks hold."""
    return [osd["osd"] for osd in osds if never_started(osd) and osd["uuid"] not in held]


def main() -> None:
    """Have the monitors forget the leftovers, or only name these in check mode."""
    module = AnsibleModule(
        argument_spec={"held": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    cluster = Cluster(module.run_command)
    try:
        purged = leftovers(cluster.ask("osd dump")["osds"], module.params["held"])
        if not module.check_mode:
            cluster.tell([{"prefix": "osd purge-new", "id": osd, "yes_i_really_mean_it": True} for osd in purged])
    except CephError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(purged), purged=purged)


if __name__ == "__main__":
    main()
