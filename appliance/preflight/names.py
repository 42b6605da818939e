"""Checks of the names of variables: one that nobody reads has no effect, and nobody would be told."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from appliance.preflight.facility import Facility
from appliance.preflight.fault import Fault
from appliance.preflight.role_catalogue import MAGIC

# What Ansible reads of a machine to reach it and to work there (its plugins ssh, local, sudo, su and sh, and its
# configuration), and takes by older names as well.
OF_CONNECTIONS = frozenset(
    f"ansible_{name}"
    for name in [
        "admin_users",
        "async_dir",
        "become",
        "become_exe",
        "become_flags",
        "become_method",
        "become_pass",
        "become_password",
        "become_user",
        "common_remote_group",
        "connection",
        "control_path",
        "control_path_dir",
        "facts_modules",
        "host",
        "host_key_checking",
        "interpreter_python_fallback",
        "local_become_strip_preamble",
        "local_become_success_timeout",
        "module_compression",
        "no_target_syslog",
        "password",
        "pipelining",
        "port",
        "private_key",
        "private_key_file",
        "private_key_passphrase",
        "python_interpreter",
        "python_module_rlimit_nofile",
        "remote_tmp",
        "scp_executable",
        "scp_extra_args",
        "sftp_batch_mode",
        "sftp_executable",
        "sftp_extra_args",
        "shell_allow_world_readable_temp",
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
        "ssh_password_mechanism",
        "ssh_pipelining",
        "ssh_pkcs11_provider",
        "ssh_port",
        "ssh_private_key",
        "ssh_private_key_file",
        "ssh_private_key_passphrase",
        "ssh_retries",
        "ssh_timeout",
        "ssh_transfer_method",
        "ssh_use_tty",
        "ssh_user",
        "ssh_verbosity",
        "sshpass_prompt",
        "su_exe",
        "su_flags",
        "su_pass",
        "su_prompt_l10n",
        "su_user",
        "sudo_chdir",
        "sudo_exe",
        "sudo_flags",
        "sudo_pass",
        "sudo_user",
        "system_tmpdirs",
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
    meant: dict[str, tuple[str, str]] = {}
    for host in facility.hosts:
        given = facility.names.get(host, frozenset())
        for name in sorted(given):
            if name not in meant:
                meant[name] = ("", "") if catalogue.known(name) else _meant(facility, name, documented)
            fix, near = meant[name]
            # Where the other one is set as well, this is the site's own, unless it has the same letters.
            if fix and (near not in given or sorted(near) == sorted(name)):
                value = "(renamed)" if name in catalogue.renamed else "(unknown)"
                yield Fault(name, value, fix, host)


def _meant(facility: Facility, name: str, documented: list[str]) -> tuple[str, str]:
    """Return what to do about a name that no role knows; nothing where it is the site's own.

    The second name is that of the variable which it is like, where its own does not begin with a role's.
    """
    catalogue = facility.catalogue
    if name in catalogue.renamed:
        return f"write {catalogue.renamed[name]}: no role reads the old name any more", ""
    if name.startswith("ansible_"):
        near = [] if name in OF_CONNECTIONS else _near(name, sorted(OF_CONNECTIONS), NEAR_OF_ANSIBLE)
        return (f"Ansible does not read it: write {near[0]}, or remove it", near[0]) if near else ("", "")
    if MAGIC.match(name) or name.startswith("__"):
        return "", ""
    # The longest one: `ceph_rgw_…` is none of a role `ceph`.
    role = max((role for role in catalogue.roles if name.startswith(f"{role}_")), key=len, default="")
    near = _near(name, documented, NEAR_OF_PREFIX if role else NEAR)
    if near:
        return f"no role has this variable: write {near[0]}, or remove it", "" if role else near[0]
    fix = f"no role has this variable: see roles/{role}/README.md for what there is, or remove it"
    return fix if role else "", ""


def _near(name: str, known: list[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(name, known, n=1, cutoff=cutoff)


CHECKS = (unknown_settings,)
