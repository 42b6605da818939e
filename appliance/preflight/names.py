"""Checks of the names of variables: one that nobody reads has no effect, and nobody would be told."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault
from appliance.preflight.role_catalogue import MAGIC

# What Ansible reads of a machine to reach it (the plugins ssh, local and sudo), and takes by older names as well.
OF_CONNECTIONS = frozenset(
    f"ansible_{name}"
    for name in [
        "become",
        "become_exe",
        "become_flags",
        "become_method",
        "become_pass",
        "become_password",
        "become_user",
        "connection",
        "host",
        "host_key_checking",
        "password",
        "pipelining",
        "port",
        "private_key_file",
        "python_interpreter",
        "remote_tmp",
        "scp_executable",
        "scp_extra_args",
        "sftp_extra_args",
        "shell_executable",
        "shell_type",
        "ssh_args",
        "ssh_common_args",
        "ssh_executable",
        "ssh_extra_args",
        "ssh_host",
        "ssh_host_key_checking",
        "ssh_pass",
        "ssh_password",
        "ssh_pipelining",
        "ssh_port",
        "ssh_private_key_file",
        "ssh_retries",
        "ssh_timeout",
        "ssh_transfer_method",
        "ssh_user",
        "sudo_pass",
        "timeout",
        "user",
    ]
)
# How like a known name another has to be to count as a misspelt one (difflib's ratio). Names of Ansible's facts are
# more like those of its settings.
NEAR = 0.85
NEAR_OF_ANSIBLE = 0.9
NEAR_OF_PREFIX = 0.75


def unknown_settings(facility: Facility) -> Iterator[Fault]:
    """A setting that bears a role's name, or nearly that of a variable, is one. A site's own variables are its own."""
    catalogue = facility.catalogue
    documented = sorted(
        {name for options in catalogue.options.values() for name in options}
        | {name for found in catalogue.references.values() for name in found}
    )
    meant: dict[str, str] = {}
    for host in facility.hosts:
        for name in sorted(facility.names.get(host, ())):
            if name not in meant:
                meant[name] = "" if catalogue.known(name) else _meant(facility, name, documented)
            if meant[name]:
                value = "(renamed)" if name in catalogue.renamed else "(unknown)"
                yield Fault(name, value, meant[name], host)


def _meant(facility: Facility, name: str, documented: list[str]) -> str:
    """Return what to do about a name that no role knows; nothing where it is the site's own."""
    catalogue = facility.catalogue
    if name in catalogue.renamed:
        return f"write {catalogue.renamed[name]}: no role reads the old name any more"
    if name.startswith("ansible_"):
        near = [] if name in OF_CONNECTIONS else _near(name, sorted(OF_CONNECTIONS), NEAR_OF_ANSIBLE)
        return f"Ansible does not read it: write {near[0]}, or remove it" if near else ""
    if MAGIC.match(name) or name.startswith("__"):
        return ""
    # The longest one: `ceph_rgw_…` is none of a role `ceph`.
    role = max((role for role in catalogue.roles if name.startswith(f"{role}_")), key=len, default="")
    near = _near(name, documented, NEAR_OF_PREFIX if role else NEAR)
    if near:
        return f"no role has this variable: write {near[0]}, or remove it"
    return f"no role has this variable: see roles/{role}/README.md for what there is, or remove it" if role else ""


def _near(name: str, known: list[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(name, known, n=1, cutoff=cutoff)


CHECKS = (unknown_settings,)
