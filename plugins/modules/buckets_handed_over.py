#!/usr/bin/python3
"""Ansible module: all buckets of an S3 user become another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster

DOCUMENTATION = r"""
module: buckets_handed_over
short_description: Give all buckets of an S3 user, with all that is in them, to another
description:
  - Runs where the admin key is. The user loses the keys and keeps the name, so that nobody else gets it.
  - Which buckets there are is written down first. A run that was stopped begins again with the one that it was at.
options:
  user: {description: Whose buckets they are., type: str, required: true}
  to: {description: Who gets them., type: str, required: true}
  make: {description: Whether who gets them is made where there is no such user., type: bool, default: false}
  record: {description: File in which it is written down what is to be done., type: path, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Give carol's buckets to dave
  buckets_handed_over: {user: carol, to: dave, record: /var/lib/appliance/leaving/carol.json}
"""
RETURN = r"""
buckets:
  description: Names of the buckets that were given.
  returned: always
  type: list
"""


def disarm(cluster: Cluster, user: str) -> bool:
    """Take all keys from a user; whether there were any."""
    keys = cluster.rgw("user", "info", "--uid", user).get("keys", [])
    for key in keys:
        cluster.rgw("key", "rm", "--uid", user, "--key-type=s3", f"--access-key={key['access_key']}")
    return bool(keys)


def write(record: Path, buckets: list[str], to: str) -> None:
    """Write down which buckets are still to be given, and to whom."""
    record.parent.mkdir(parents=True, exist_ok=True)
    draft = record.with_suffix(".new")
    draft.write_text(json.dumps({"to": to, "buckets": buckets}))
    draft.replace(record)


def left_over(record: Path, to: str) -> list[str]:
    """Which buckets an earlier run did not finish; raises CephError where that gave them to somebody else."""
    if not record.exists():
        return []
    known = json.loads(record.read_text())
    if known["buckets"] and known["to"] != to:
        raise CephError(
            f"{record}: buckets were on their way to {known['to']}; finish that first, and then give them on"
        )
    found: list[str] = known["buckets"]
    return found


def main() -> None:
    """Give what is there, bucket by bucket."""
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "to": {"type": "str", "required": True},
            "make": {"type": "bool", "default": False},
            "record": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    asked: dict[str, Any] = module.params
    user, to, record = asked["user"], asked["to"], Path(asked["record"])
    cluster = Cluster(module.run_command)
    try:
        users = cluster.rgw("user", "list")
        if user not in users:
            module.exit_json(changed=False, buckets=[])
        begun = left_over(record, to)
        own = cluster.rgw("bucket", "list", f"--uid={user}")
        # Linked to the new owner already, but not all of its objects. Others were removed, or are somebody's by now.
        begun = [bucket for bucket in begun if bucket in cluster.rgw("bucket", "list", f"--uid={to}")]
        buckets = sorted({*begun, *own})
        if module.check_mode:
            module.exit_json(changed=bool(buckets), buckets=buckets)
        if to not in users:
            if not asked["make"]:
                raise CephError(f"there is no S3 user {to}; run site.yml first")
            cluster.rgw("user", "create", "--uid", to, "--display-name", to)
            disarm(cluster, to)
        changed = disarm(cluster, user)
        if buckets:
            write(record, buckets, to)
            # A suspended user's buckets are closed to everybody. Without keys the user can do nothing.
            cluster.rgw("user", "enable", f"--uid={user}")
            for number, bucket in enumerate(buckets):
                cluster.rgw("bucket", "chown", f"--bucket={bucket}", f"--uid={to}")
                write(record, buckets[number + 1 :], to)
            cluster.rgw("user", "suspend", f"--uid={user}")
    except CephError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed or bool(buckets), buckets=buckets)


if __name__ == "__main__":
    main()
