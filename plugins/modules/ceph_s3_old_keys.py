#!/usr/bin/python3
"""Ansible module: keys of S3 users in whose place there are new ones begin to end."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster
from ansible.module_utils.s3_old_keys import begin, waiting

DOCUMENTATION = r"""
module: ceph_s3_old_keys
short_description: Have the S3 keys that M(ceph_s3_users) has given successors begin to end
description:
  - Runs where the admin key is, once all machines have the new keys. Each old one ends when the hours have passed for
    which it was to stay valid.
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Have old keys end at their time
  ceph_s3_old_keys:
"""
RETURN = r"""
users:
  description: Whose old keys have begun to end.
  returned: always
  type: list
  elements: str
"""


def main() -> None:
    """Have the hours of all keys begin that wait for it."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    cluster = Cluster(module.run_command)
    try:
        entries = waiting(cluster)
        if not module.check_mode:
            begin(cluster, entries, time.time())
    except CephError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(entries), users=sorted({entry["user"] for entry in entries.values()}))


if __name__ == "__main__":
    main()
