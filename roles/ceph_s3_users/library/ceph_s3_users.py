#!/usr/bin/python3
"""Ansible module: S3 users with keys that the gateway makes, each with a bucket of its own name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster
from ansible.module_utils.s3_request import make_bucket

DOCUMENTATION = r"""
module: ceph_s3_users
short_description: Make sure that S3 users exist, each with keys and a bucket of its own name
description:
  - Runs where the admin key is. The keys come back in C(credentials), so the task needs C(no_log).
  - Users that exist keep their keys.
options:
  names: {description: Names of the users., type: list, elements: str, required: true}
  endpoint: {description: Address of a gateway., type: str, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make S3 users
  ceph_s3_users:
    names: [alice, bob]
    endpoint: http://127.0.0.1:7480
  no_log: true
"""
RETURN = r"""
credentials:
  description: An AWS credentials file's text by name of the user.
  returned: always
  type: dict
"""

CREDENTIALS = "[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"


def first_key(user: dict[str, Any]) -> tuple[str, str]:
    """A user's access and secret key, from what radosgw-admin says of the user; raises CephError if there is none."""
    for key in user.get("keys", []):
        if key["user"] == user["user_id"]:
            return key["access_key"], key["secret_key"]
    raise CephError(
        f"S3 user {user['user_id']} has no key; `radosgw-admin key create --uid {user['user_id']}` makes one"
    )


def serve(cluster: Cluster, endpoint: str, name: str, exists: bool, check: bool) -> tuple[bool, str]:
    """Make sure of one user; tells whether anything changed, and the credentials file's text."""
    changed = not exists
    if exists:
        user = cluster.rgw("user", "info", "--uid", name)
    elif check:
        return True, ""
    else:
        user = cluster.rgw("user", "create", "--uid", name, "--display-name", name)
    access, secret = first_key(user)
    if not exists or name not in cluster.rgw("bucket", "list", "--uid", name):
        changed = True
        if not check:
            status, answer = make_bucket(endpoint, name, access, secret)
            if status != 200:
                raise CephError(f"{endpoint} did not make bucket {name}: {status} {answer}")
    return changed, CREDENTIALS.format(access=access, secret=secret)


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "endpoint": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    names: list[str] = module.params["names"]
    cluster = Cluster(module.run_command)
    try:
        present = set(cluster.rgw("user", "list"))
        # Each question starts a process that opens the cluster anew; a few at once keep a large site's run short.
        with ThreadPoolExecutor(max_workers=4) as pool:
            done = list(
                pool.map(
                    lambda name: serve(cluster, module.params["endpoint"], name, name in present, module.check_mode),
                    names,
                )
            )
    except (CephError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=any(changed for changed, _ in done),
        credentials={name: text for name, (_, text) in zip(names, done, strict=True)},
    )


if __name__ == "__main__":
    main()
