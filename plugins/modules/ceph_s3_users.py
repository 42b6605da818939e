#!/usr/bin/python3
"""Ansible module: S3 users with keys that the gateway makes, each with a bucket of its own name."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster
from ansible.module_utils.s3_buckets import Owner
from ansible.module_utils.s3_old_keys import note, noted

DOCUMENTATION = r"""
module: ceph_s3_users
short_description: Make sure that S3 users exist, each with keys and a bucket of its own name
description:
  - Runs where the admin key and C(curl) are. The keys come back in C(credentials), so the task needs C(no_log).
  - Users that exist keep their keys, but for those in C(rotate). What these had is noted in the cluster before they get
    a key. It begins to end with M(ceph_s3_old_keys), and a timer takes it away (role C(ceph_s3_users)).
  - A user whose bucket's name is another user's gets keys and no bucket, and stands in C(taken).
  - With C(scratch) each also gets a bucket NAME-scratch, in which the S3 user C(appliance-scratch) may list and delete.
    Where somebody has such a bucket already, it stays as it is and the user stands in C(kept).
  - Who is not C(present) is suspended, with keys and buckets as they are, and gets no credentials.
options:
  users:
    description:
      - Researchers with C(name), and where they have them C(state) (by default C(present)) and limits of their own
        C(s3_gib_max), C(s3_objects_max) and C(s3_buckets_max). C(caps), such as C(buckets=read), is a right on the
        gateway's own interface, for the facility's users; what a user has beside it is taken away.
    type: list
    elements: dict
    required: true
  gib_max: {description: The most that a user's objects may take in GiB., type: float, required: true}
  objects_max: {description: The most objects of a user., type: int, required: true}
  buckets_max: {description: The most buckets of a user., type: int, required: true}
  endpoint: {description: Address of a gateway., type: str, required: true}
  rotate:
    description: Names of users who get new keys.
    type: list
    elements: str
    default: []
  valid_hours:
    description: How many hours the keys that they had stay valid after all machines have the new ones.
    type: float
    default: 168
  scratch: {description: Whether each has a scratch bucket as well., type: bool, default: false}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make S3 users
  ceph_s3_users:
    users: [{name: alice}, {name: bob, s3_gib_max: 4096}, {name: carol, state: locked}]
    gib_max: 1024
    objects_max: 10000000
    buckets_max: 100
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
kept:
  description: Why nothing expires in a user's scratch bucket, by name of the user.
  returned: always
  type: dict
"""

KIB = 2**10
GIB = 2**30
CREDENTIALS = "[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"


def own_keys(user: dict[str, Any]) -> dict[str, str]:
    """A user's secret keys by access key, without those of subusers, from what radosgw-admin says of the user."""
    return {key["access_key"]: key["secret_key"] for key in user.get("keys", []) if key["user"] == user["user_id"]}


def current_key(user: dict[str, Any], ending: Collection[str]) -> tuple[str, str] | None:
    """The access and secret key of a user that does not end; None where there is none."""
    return next(((access, secret) for access, secret in own_keys(user).items() if access not in ending), None)


@dataclass(frozen=True)
class Limits:
    """What a user's objects take together at most, in bytes and in number, and how many buckets there may be."""

    size: int
    objects: int
    buckets: int

    @classmethod
    def of(cls, user: Mapping[str, Any], params: Mapping[str, Any]) -> Limits:
        """The user's own limits where the inventory names them, else those of all."""
        return cls(
            # Ceph keeps whole KiB.
            size=math.ceil(float(user.get("s3_gib_max") or params["gib_max"]) * GIB / KIB) * KIB,
            objects=int(user.get("s3_objects_max") or params["objects_max"]),
            buckets=int(user.get("s3_buckets_max") or params["buckets_max"]),
        )

    def commands(self, name: str, shown: Mapping[str, Any]) -> list[list[str]]:
        """What `radosgw-admin` has to be told of a user of whom it shows this; nothing where the limits hold."""
        quota = shown.get("user_quota", {})
        commands = []
        if (quota.get("max_size"), quota.get("max_objects")) != (self.size, self.objects):
            most = [f"--max-size={self.size}", f"--max-objects={self.objects}"]
            commands.append(["quota", "set", "--quota-scope=user", f"--uid={name}", *most])
        if not quota.get("enabled"):
            commands.append(["quota", "enable", "--quota-scope=user", f"--uid={name}"])
        if shown.get("max_buckets") != self.buckets:
            commands.append(["user", "modify", f"--uid={name}", f"--max-buckets={self.buckets}"])
        return commands


@dataclass(frozen=True)
class Served:
    """What was done for one user.

    Whether anything changed, the credentials' text, whose bucket bears the name, and why nothing expires in scratch.
    """

    changed: bool
    credentials: str = ""
    taken_by: str = ""
    kept: str = ""


def caps_commands(wanted: Mapping[str, Any], shown: Mapping[str, Any]) -> list[list[str]]:
    """What `radosgw-admin` has to be told of a user's rights; nothing of a user whose rights are not named."""
    if "caps" not in wanted:
        return []
    name, has = wanted["name"], {f"{cap['type']}={cap['perm']}" for cap in shown.get("caps", [])}
    surplus = sorted(has - {wanted["caps"]})
    commands = [["caps", "rm", f"--uid={name}", f"--caps={';'.join(surplus)}"]] if surplus else []
    return (
        commands if wanted["caps"] in has else [*commands, ["caps", "add", f"--uid={name}", f"--caps={wanted['caps']}"]]
    )


def suspend(module: AnsibleModule, cluster: Cluster, name: str) -> Served:
    """End what a user's keys open; the gateways tell each other."""
    if cluster.rgw("user", "info", "--uid", name).get("suspended"):
        return Served(changed=False)
    if not module.check_mode:
        cluster.rgw("user", "suspend", "--uid", name)
    return Served(changed=True)


def serve(
    module: AnsibleModule,
    cluster: Cluster,
    wanted: Mapping[str, Any],
    exists: bool,
    buckets: Collection[str],
    ending: Collection[str],
) -> Served:
    """Make sure of one user, whose bucket may be one of all ``buckets`` already, with a key that is not ``ending``."""
    name = wanted["name"]
    if wanted.get("state", "present") != "present":
        return suspend(module, cluster, name) if exists else Served(changed=False)
    if exists:
        user = cluster.rgw("user", "info", "--uid", name)
    elif module.check_mode:
        return Served(changed=True)
    else:
        user = cluster.rgw("user", "create", "--uid", name, "--display-name", name)
    commands = Limits.of(wanted, module.params).commands(name, user) + caps_commands(wanted, user)
    if user.get("suspended"):
        commands.append(["user", "enable", f"--uid={name}"])
    if not module.check_mode:
        for command in commands:
            cluster.rgw(*command)
    changed = bool(commands) or not exists
    key = current_key(user, ending)
    if key is None:  # all that there are end, or who left, and handed over, comes back
        changed = True
        if module.check_mode:
            return Served(changed)
        user = cluster.rgw("key", "create", f"--uid={name}", "--key-type=s3", "--gen-access-key", "--gen-secret")
        key = current_key(user, ending)
        if key is None:
            raise CephError(f"S3 user {name} got no new key")
    access, secret = key
    asks = Owner(module.run_command, module.params["endpoint"], name, access, secret)
    taken_by, kept = "", ""
    if name in buckets:
        owner = cluster.rgw("bucket", "stats", "--bucket", name)["owner"]
        taken_by = "" if owner == name else owner
    else:
        changed = True
        if not module.check_mode:
            asks.make_bucket(name)
    if module.params["scratch"]:
        made, kept = asks.scratch(cluster, buckets, module.check_mode)
        changed = changed or made
    return Served(changed, CREDENTIALS.format(access=access, secret=secret), taken_by, kept)


def rotate(module: AnsibleModule, cluster: Cluster, present: Collection[str]) -> None:
    """Note that the keys of those who get new ones end. Before these are made: a run that dies here is made up for."""
    names = [name for name in module.params["rotate"] if name in present]
    note(
        cluster,
        [(name, key) for name in names for key in own_keys(cluster.rgw("user", "info", "--uid", name))],
        module.params["valid_hours"],
    )


def main() -> None:
    """Make sure of all users, a few at a time, and return their credentials files' texts."""
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "dict", "required": True},
            "gib_max": {"type": "float", "required": True},
            "objects_max": {"type": "int", "required": True},
            "buckets_max": {"type": "int", "required": True},
            "endpoint": {"type": "str", "required": True},
            "rotate": {"type": "list", "elements": "str", "default": []},
            "valid_hours": {"type": "float", "default": 168},
            "scratch": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    users: list[dict[str, Any]] = module.params["users"]
    cluster = Cluster(module.run_command)
    try:
        present = set(cluster.rgw("user", "list"))
        buckets = set(cluster.rgw("bucket", "list"))
        if not module.check_mode:
            rotate(module, cluster, present)
        ending = noted(cluster)
        # Each question starts a process that opens the cluster anew; a few at once keep a large site's run short.
        with ThreadPoolExecutor(max_workers=4) as pool:
            done = list(
                pool.map(lambda one: serve(module, cluster, one, one["name"] in present, buckets, ending), users)
            )
    except CephError as error:
        module.fail_json(msg=str(error))
    by_name = {user["name"]: served for user, served in zip(users, done, strict=True)}
    module.exit_json(
        changed=any(served.changed for served in done),
        credentials={name: served.credentials for name, served in by_name.items() if served.credentials},
        taken={name: served.taken_by for name, served in by_name.items() if served.taken_by},
        kept={name: served.kept for name, served in by_name.items() if served.kept},
    )


if __name__ == "__main__":
    main()
