#!/usr/bin/python3
"""Ansible module: S3 users with keys that the gateway makes, each with a bucket of its own name."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster, Run

DOCUMENTATION = r"""
module: ceph_s3_users
short_description: Make sure that S3 users exist, each with keys and a bucket of its own name
description:
  - Runs where the admin key and C(curl) are. The keys come back in C(credentials), so the task needs C(no_log).
  - Users that exist keep their keys.
  - A user whose bucket's name is another user's gets keys and no bucket, and stands in C(taken).
options:
  names: {description: Names of the users., type: list, elements: str, required: true}
  endpoint: {description: Address of a gateway., type: str, required: true}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make S3 users
  ceph_s3_users:
    names: [alice, bob]
    endpoint: http://store1.example.org
  no_log: true
"""
RETURN = r"""
credentials:
  description: An AWS credentials file's text by name of the user.
  returned: always
  type: dict
taken:
  description: Owners of buckets that bear another user's name, by name of the bucket.
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


def make_bucket(run: Run, endpoint: str, bucket: str, access: str, secret: str) -> None:
    """Make a bucket as the owner of the keys; raises CephError if the gateway does not.

    curl signs the request. The keys reach it over its standard input: every account can read a command's arguments.
    """
    settings = {
        "url": f"{endpoint}/{bucket}",
        "request": "PUT",
        "user": f"{access}:{secret}",
        "aws-sigv4": "aws:amz:us-east-1:s3",
        "noproxy": "*",
        "max-time": "60",
    }
    lines = [f'{name} = "{value}"' for name, value in settings.items()] + ["silent", "show-error", "fail-with-body"]
    status, out, err = run(["curl", "--config", "-"], data="\n".join(lines))
    if status != 0:
        raise CephError(f"{endpoint} did not make bucket {bucket}: {err.strip()} {out.strip()}")


@dataclass(frozen=True)
class Served:
    """What was done for one user: whether anything changed, the credentials' text, and whose bucket bears the name."""

    changed: bool
    credentials: str
    taken_by: str = ""


def serve(module: AnsibleModule, cluster: Cluster, name: str, exists: bool, buckets: Collection[str]) -> Served:
    """Make sure of one user, whose bucket may be one of all ``buckets`` already."""
    if exists:
        user = cluster.rgw("user", "info", "--uid", name)
    elif module.check_mode:
        return Served(changed=True, credentials="")
    else:
        user = cluster.rgw("user", "create", "--uid", name, "--display-name", name)
    access, secret = first_key(user)
    credentials = CREDENTIALS.format(access=access, secret=secret)
    if name in buckets:
        owner = cluster.rgw("bucket", "stats", "--bucket", name)["owner"]
        return Served(not exists, credentials, "" if owner == name else owner)
    if not module.check_mode:
        make_bucket(module.run_command, module.params["endpoint"], name, access, secret)
    return Served(changed=True, credentials=credentials)


def main() -> None:
    """Make sure of all users, a few at a time, and return their credentials files' texts."""
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
        buckets = set(cluster.rgw("bucket", "list"))
        # Each question starts a process that opens the cluster anew; a few at once keep a large site's run short.
        with ThreadPoolExecutor(max_workers=4) as pool:
            done = list(pool.map(lambda name: serve(module, cluster, name, name in present, buckets), names))
    except CephError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=any(served.changed for served in done),
        credentials={name: served.credentials for name, served in zip(names, done, strict=True)},
        taken={name: served.taken_by for name, served in zip(names, done, strict=True) if served.taken_by},
    )


if __name__ == "__main__":
    main()
