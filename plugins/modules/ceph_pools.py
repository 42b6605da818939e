#!/usr/bin/python3
"""Ansible module: replicated pools with placement groups that fit the number of OSDs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster, Command

DOCUMENTATION = r"""
module: ceph_pools
short_description: Make sure that replicated pools exist, with a fitting number of placement groups
description:
  - The number of placement groups is set when a pool is made, and never changed by this module. Another number moves
    data and everything that is computed from it, so it is an operator's decision. The result names pools whose number
    no longer fits.
  - Number of copies and the least number of copies are kept as given.
options:
  pools:
    description:
      - Pools, each with C(name), C(size), C(min_size), C(application) and C(share).
      - C(share) is the pool's part of all placement groups; 0 gives the least number, which is 8 or C(pgs_min).
      - C(options) are further options of the pool that are numbers, as C(ceph osd pool set) knows them.
    type: list
    elements: dict
    required: true
  osds: {description: Number of OSDs that the site plans with., type: int, required: true}
  pgs_per_osd: {description: Placement groups' copies on each OSD to aim at., type: int, default: 100}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Make the data pool
  ceph_pools:
    osds: 12
    pools:
      - {name: default.rgw.buckets.data, size: 3, min_size: 2, application: rgw, share: 0.8}
"""
RETURN = r"""
misfits:
  description:
    - Pools whose number of placement groups is at least four times too large or too small, or below C(pgs_min).
  returned: always
  type: list
"""

LEAST = 8


def pg_num(osds: int, size: int, share: float, pgs_per_osd: int = 100) -> int:
    """How many placement groups fit a pool: osds * pgs_per_osd * share / size, as the nearest power of two, at least 8.

    The rule of Ceph's placement group calculator, with "nearest" measured on the logarithm. `osds`, `size` and
    `pgs_per_osd` are counts above 0 (else ValueError) and `share` lies from 0 to 1 (else ValueError).
    """
    if osds < 1 or size < 1 or pgs_per_osd < 1:
        raise ValueError(f"osds ({osds}), size ({size}) and pgs_per_osd ({pgs_per_osd}) must each be 1 or more")
    if not 0 <= share <= 1:
        raise ValueError(f"share ({share}) must lie from 0 to 1")
    ideal = osds * pgs_per_osd * share / size
    return LEAST if ideal <= LEAST else max(LEAST, 2 ** round(math.log2(ideal)))


def default_min_size(size: int) -> int:
    """The least number of copies that Ceph itself gives a new pool of that many copies: the majority."""
    return size - size // 2


def misfit(present: int, fitting: int) -> bool:
    """Whether a pool's number is so far off (four times) that an operator should know."""
    return present >= 4 * fitting or fitting >= 4 * present


def creation(pool: Mapping[str, Any], number: int) -> list[Command]:
    """The commands that make a pool with that number of placement groups."""
    name, size = pool["name"], int(pool["size"])
    create: dict[str, Any] = {"prefix": "osd pool create", "pool": name, "pg_num": number, "pgp_num": number}
    create |= {"pool_type": "replicated", "size": size, "autoscale_mode": "off"}
    if name.startswith("."):
        # RGW's root pool is named so. Without this the monitors say no, and yet end with 0.
        create["yes_i_really_mean_it"] = True
    commands: list[Command] = [create]
    if int(pool["min_size"]) != default_min_size(size):
        commands.append({"prefix": "osd pool set", "pool": name, "var": "min_size", "val": str(pool["min_size"])})
    commands.append({"prefix": "osd pool application enable", "pool": name, "app": pool["application"]})
    return commands + set_options(pool, {})


def correction(pool: Mapping[str, Any], present: Mapping[str, Any]) -> list[Command]:
    """The commands that give an existing pool its number of copies, in the order in which Ceph accepts them."""
    wanted = {"size": int(pool["size"]), "min_size": int(pool["min_size"]), "pg_autoscale_mode": "off"}
    commands: list[Command] = [
        {"prefix": "osd pool set", "pool": pool["name"], "var": name, "val": str(value)}
        for name, value in wanted.items()
        if present.get(name) != value
    ]
    return commands + set_options(pool, present.get("options", {}))


def set_options(pool: Mapping[str, Any], present: Mapping[str, float]) -> list[Command]:
    """The commands that give a pool those of its wanted options that it does not have with their value."""
    return [
        {"prefix": "osd pool set", "pool": pool["name"], "var": name, "val": str(value)}
        for name, value in pool.get("options", {}).items()
        if present.get(name) != float(value)
    ]


def make_pools(cluster: Cluster, module: AnsibleModule) -> tuple[list[str], list[str]]:
    """Create and set what differs; gives the names of pools that changed, and what does not fit any more."""
    present = {pool["pool_name"]: pool for pool in cluster.ask("osd pool ls", detail="detail")}
    touched: list[str] = []
    misfits: list[str] = []
    work: list[Command] = []
    for pool in module.params["pools"]:
        name, share = pool["name"], float(pool.get("share", 0))
        least = int(pool.get("pgs_min", LEAST))
        fitting = max(least, pg_num(module.params["osds"], int(pool["size"]), share, module.params["pgs_per_osd"]))
        commands = correction(pool, present[name]) if name in present else creation(pool, fitting)
        if commands:
            touched.append(name)
        work += commands
        if share and name in present and misfit(present[name]["pg_num"], fitting):
            misfits.append(f"pool {name} has {present[name]['pg_num']} placement groups, and {fitting} would fit")
        if name in present and present[name]["pg_num"] < least:
            misfits.append(
                f"pool {name} has {present[name]['pg_num']} placement groups, and works right with {least}: "
                f"ceph osd pool set {name} pg_num {least}"
            )
    if not module.check_mode:
        cluster.tell(work)
    return touched, misfits


def main() -> None:
    """Make or correct the pools, and warn of those whose number of placement groups does not fit any more."""
    module = AnsibleModule(
        argument_spec={
            "pools": {"type": "list", "elements": "dict", "required": True},
            "osds": {"type": "int", "required": True},
            "pgs_per_osd": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    try:
        touched, misfits = make_pools(Cluster(module.run_command), module)
    except (CephError, ValueError) as error:
        module.fail_json(msg=str(error))
    for note in misfits:
        module.warn(note)
    module.exit_json(changed=bool(touched), touched=touched, misfits=misfits)


if __name__ == "__main__":
    main()
