#!/usr/bin/python3
"""Ansible module: settings in the monitors' configuration database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.ceph_cli import CephError, Cluster

DOCUMENTATION = r"""
module: ceph_config
short_description: Make sure that the monitors' configuration database holds the given settings
description:
  - Daemons take most of these settings while they run, so a change restarts nothing.
  - Settings that are not named stay as they are.
options:
  settings:
    description: Values by option, by section (global, mon, osd, client.rgw, ...).
    type: dict
    required: true
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Give every OSD a memory target
  ceph_config:
    settings:
      osd: {osd_max_backfills: 1}
"""
RETURN = r"""
sections:
  description: The sections in which a value changed.
  returned: always
  type: list
"""

Settings = dict[str, dict[str, str]]


def as_text(value: Any) -> str:
    """A YAML value as Ceph writes it: booleans in lower case, everything else as it prints."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def stored(dump: list[dict[str, Any]]) -> Settings:
    """`ceph config dump` as values by option by section; entries with a mask are somebody's exception, and left out."""
    found: Settings = {}
    for entry in dump:
        if not entry.get("mask"):
            found.setdefault(entry["section"], {})[entry["name"]] = entry["value"]
    return found


def differences(wanted: Mapping[str, Mapping[str, Any]], present: Settings) -> Settings:
    """Those of the wanted values that the database does not hold, as text."""
    missing: Settings = {}
    for section, options in wanted.items():
        for name, value in options.items():
            if present.get(section, {}).get(name) != as_text(value):
                missing.setdefault(section, {})[name] = as_text(value)
    return missing


def changed_sections(before: Settings, after: Settings) -> list[str]:
    """The sections that differ, in order of name."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def main() -> None:
    """Set the values that differ; a section counts as changed if the monitors then hold something else in it."""
    module = AnsibleModule(
        argument_spec={"settings": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    cluster = Cluster(module.run_command)
    try:
        before = stored(cluster.ask("config dump"))
        missing = differences(module.params["settings"], before)
        after = before
        if missing and not module.check_mode:
            cluster.tell(
                [
                    {"prefix": "config set", "who": section, "name": name, "value": value}
                    for section, options in missing.items()
                    for name, value in options.items()
                ]
            )
            # Monitors store numbers in a form of their own ("4G" becomes bytes): only what they hold afterwards tells
            # whether anything changed.
            after = stored(cluster.ask("config dump"))
    except CephError as error:
        module.fail_json(msg=str(error))
    sections = sorted(missing) if module.check_mode else changed_sections(before, after)
    module.exit_json(
        changed=bool(sections),
        sections=sections,
        diff={"before": {name: before.get(name, {}) for name in sections}, "after": missing},
    )


if __name__ == "__main__":
    main()
