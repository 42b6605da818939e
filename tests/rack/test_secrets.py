"""Secrets stay where they belong: in no log, no output, no environment, no file that others can read."""

from __future__ import annotations

import pytest
from machines import MACHINES, ask
from site_run import play, site_secrets

CANARY = "canary"
# Each in the form that its program asks for, so that it gets as far as a real one.
PLANTED = {
    "jupyterhub_cookie_secret": "ca9a19" + "0" * 58,
    "jupyterhub_proxy_token": f"{CANARY}-proxy-token",
    "accounts_passwords": {"alice": f"{CANARY}-of-alice", "bob": f"{CANARY}-of-bob"},
}


@pytest.mark.long
def test_a_canary_in_the_vault_is_in_nothing_that_ansible_says_at_its_loudest() -> None:
    """With --diff, which shows the files that a run would write, and with every module's arguments."""
    run = play("../site.yml", "--check", "--diff", "-vvv", **PLANTED)
    assert run.status == 0, run.said[-3000:]
    assert run.changed["head1"] > 0, "the canaries reached no file"
    shown = [line for line in run.said.splitlines() if CANARY in line or PLANTED["jupyterhub_cookie_secret"] in line]
    assert shown == []


@pytest.mark.parametrize("machine", MACHINES)
def test_no_secret_is_in_a_log_an_environment_a_command_line_or_a_file_for_all(machine: str) -> None:
    """Environments are asked of every unit, as anybody may, and of processes of other users than root."""
    secrets = site_secrets()
    places = {
        "journal": "journalctl --no-pager --output cat",
        "logs": "find /var/log -type f -size -64M -exec cat {} +",
        "units": "systemctl show --all '*' ",
        "command lines": "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'",
        "files for all": "find /etc /opt /run /srv /usr/local /var/lib -xdev -type f -perm -o+r -size -1M "
        "-exec cat {} + 2>/dev/null",
    }
    found = {}
    for place, command in places.items():
        script = f"grep -aoF -f /dev/fd/3 3<&0 < <({command}) | sort -u || true"
        hits = ask(machine, f"bash -c {quoted(script)}", given="\n".join(secrets.values()) + "\n").split("\n")
        found[place] = sorted(name for name, value in secrets.items() if value in hits)
    assert found == {place: [] for place in places}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
