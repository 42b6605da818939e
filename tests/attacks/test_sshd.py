"""No researcher has a session on any machine, by whatever way; whoever is no researcher keeps theirs."""

from __future__ import annotations

import secrets
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from intruder import run
from machines import FACILITY, MACHINES, RACK, STORES, ask
from site_run import play

from appliance.rack.lifecycle import ssh_command

OPERATOR = "test-operator"
PAM = """
import ctypes
pam = ctypes.CDLL("libpam.so.0")

class Conversation(ctypes.Structure):
    _fields_ = [("function", ctypes.c_void_p), ("data", ctypes.c_void_p)]

def account(service, user):
    handle = ctypes.c_void_p()
    talk = Conversation(None, None)
    assert pam.pam_start(service.encode(), user.encode(), ctypes.byref(talk), ctypes.byref(handle)) == 0
    result = pam.pam_acct_mgmt(handle, 0)
    pam.pam_end(handle, result)
    return result
"""


@dataclass(frozen=True)
class People:
    """An operator's account that is as alice's, but not a researcher's: the same key and a password of its own."""

    key: Path
    passwords: dict[str, str]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("ssh")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    password = secrets.token_hex(8)
    public = key.with_suffix(".pub").read_text().strip()
    for machine in MACHINES:
        ask(
            machine, f"useradd --create-home --shell /bin/bash {OPERATOR} && chpasswd", given=f"{OPERATOR}:{password}\n"
        )
        for user in ("alice", OPERATOR):
            ask(
                machine,
                f"install -d -m 700 -o {user} -g {user} ~{user}/.ssh && "
                f"install -m 600 -o {user} -g {user} /dev/stdin ~{user}/.ssh/authorized_keys",
                given=f"{public}\n",
            )
    yield People(key, {"alice": FACILITY.password("alice"), OPERATOR: password})
    for machine in MACHINES:
        ask(machine, f"loginctl terminate-user {OPERATOR}; userdel --remove --force {OPERATOR}", check=False)
        ask(machine, "rm -rf ~alice/.ssh")


def ssh(
    machine: str,
    user: str,
    people: People,
    *words: str,
    by: str = "publickey",
    folder: Path | None = None,
    options: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Sign in as somebody else than root, with the key or with the password."""
    command = [*ssh_command(RACK, machine)]
    # The rack's own settings name root and root's key: these come first, and the first one counts.
    own = {"User": user, "IdentityFile": str(people.key), "IdentitiesOnly": "yes", "ControlPath": "none"}
    own |= {"ControlMaster": "no", "PreferredAuthentications": by, "NumberOfPasswordPrompts": "1", "BatchMode": "no"}
    command[1:1] = [*(part for name, value in own.items() for part in ("-o", f"{name}={value}")), *options]
    environment = dict(FACILITY.environment)
    if folder:
        asked = folder / "askpass"
        asked.write_text(f"#!/bin/sh\necho {shlex.quote(people.passwords[user])}\n")
        asked.chmod(0o700)
        environment |= {"SSH_ASKPASS": str(asked), "SSH_ASKPASS_REQUIRE": "force"}
    return subprocess.run(
        [*command, *words], env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_a_key_in_ones_home_opens_nothing(machine: str, people: People) -> None:
    refused = ssh(machine, "alice", people, "id", "-un")
    assert (refused.returncode, "Permission denied" in refused.stderr) == (255, True), refused
    said = ask(machine, "journalctl --quiet -o cat -n 50 -t sshd -t sshd-session")
    assert "User alice from" in said
    assert "not allowed because a group is listed in DenyGroups" in said
    assert ssh(machine, OPERATOR, people, "id", "-un").stdout.strip() == OPERATOR
    assert ask(machine, "id -un").strip() == "root"


@pytest.mark.parametrize("machine", ["head1"])
def test_the_hubs_password_opens_nothing_else(machine: str, people: People, tmp_path: Path) -> None:
    refused = ssh(machine, "alice", people, "id", "-un", by="password", folder=tmp_path)
    assert (refused.returncode, "Permission denied" in refused.stderr) == (255, True), refused
    taken = ssh(machine, OPERATOR, people, "id", "-un", by="password", folder=tmp_path)
    assert taken.stdout.strip() == OPERATOR, taken


@pytest.mark.parametrize("way", [("-W", "127.0.0.1:22"), ("-N", "-R", "0:127.0.0.1:22"), ("-N", "-D", "10808")])
def test_no_forwarding_either(people: People, way: tuple[str, ...]) -> None:
    refused = ssh("head1", "alice", people, options=way)
    assert (refused.returncode, "Permission denied" in refused.stderr) == (255, True), refused


def test_no_files_by_sftp(people: People) -> None:
    refused = ssh("head1", "alice", people, "sftp", options=("-s",))
    assert (refused.returncode, "Permission denied" in refused.stderr) == (255, True), refused
    assert ssh("head1", OPERATOR, people, "sftp", options=("-s",)).returncode == 0


@pytest.mark.parametrize("machine", ["head1", STORES[0]])
@pytest.mark.parametrize("service", ["sshd", "login", "su", "su-l", "cron", "atd", "systemd-user"])
def test_pam_opens_no_session_of_a_researchers(machine: str, service: str, people: People) -> None:
    del people  # makes the operator
    program = f"{PAM}\nsay([account({service!r}, user) for user in ('alice', {OPERATOR!r}, 'root')])"
    refused, *taken = run(machine, "root", program)
    assert refused in (6, 7), "PAM_PERM_DENIED or PAM_AUTH_ERR"
    assert taken == [0, 0]


def test_the_hub_still_lets_researchers_in() -> None:
    assert run("head1", "root", f"{PAM}\nsay(account('jupyterhub', 'alice'))") == 0


def test_su_refuses_a_researchers_right_password(people: People) -> None:
    """From an account that has a session, to one that must have none."""
    attempt = "runuser -u {asks} -- su {user} -c 'id -un' 2>&1"
    said = ask(
        "head1", attempt.format(asks=OPERATOR, user="alice"), check=False, given=f"{people.passwords['alice']}\n"
    )
    assert "alice" not in said.split()
    assert "Permission denied" in said or "Authentication failure" in said, said
    said = ask("head1", attempt.format(asks=OPERATOR, user=OPERATOR), given=f"{people.passwords[OPERATOR]}\n")
    assert said.split()[-1] == OPERATOR


@pytest.mark.parametrize("machine", ["head1", STORES[0]])
def test_no_session_manager_starts_for_a_researcher(machine: str, people: People) -> None:
    del people
    status = {}
    for user in ("alice", OPERATOR):
        uid = ask(machine, f"id -u {user}").strip()
        ask(machine, f"systemctl start user@{uid}.service", check=False)
        status[user] = ask(machine, f"systemctl show --value -p ExecMainStatus user@{uid}.service").strip()
        ask(machine, f"systemctl stop user@{uid}.service; systemctl reset-failed user@{uid}.service", check=False)
    # 224: PAM did not open the session. The operator's gets as far as systemd itself, which asks for what
    # libpam-systemd gives where that is installed.
    assert status["alice"] == "224"
    assert status[OPERATOR] in ("0", "1")


@pytest.mark.parametrize("machine", ["head1", STORES[0]])
def test_a_researchers_process_cannot_ask_for_one(machine: str) -> None:
    """Lingering would start a session manager outside of all limits, at each boot."""
    program = """
done = subprocess.run(
    ["busctl", "call", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
     "SetUserLinger", "ubb", str(os.getuid()), "true", "false"], capture_output=True, text=True)
say([done.returncode == 0, done.stderr])
"""
    done, said = run(machine, "alice", program)
    assert not done
    assert "Access denied" in said or "AccessDenied" in said or "Rejected send message" in said, said
    assert ask(machine, "ls /var/lib/systemd/linger 2>/dev/null", check=False) == ""
    try:
        assert run(machine, "root", program)[0]
    finally:
        ask(machine, "loginctl disable-linger root; systemctl reset-failed user@0.service", check=False)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_session_would_be_limited_all_the_same(machine: str) -> None:
    uid = ask(machine, "id -u alice").strip()
    shown = ask(
        machine,
        f"systemd-run --quiet --unit=test-session --uid=alice --slice=user-{uid}.slice sleep 60; "
        f"systemctl show -p MemoryMax -p TasksMax --value user-{uid}.slice user-0.slice; systemctl stop test-session",
    ).split()
    memory, tasks, roots_memory, _ = shown
    assert 2**28 < int(memory) < 2**44
    assert int(tasks) == 4096
    assert roots_memory == "infinity"


def test_the_operators_account_is_never_locked_out() -> None:
    run_ = play("accounts.yml", accounts_users=[{"name": "root", "uid": 2001}])
    assert run_.status != 0
    assert set(run_.changed.values()) == {0}
    said = " ".join(run_.said.split())
    assert "ansible_user: Ansible is root on head1, who is a researcher" in said, said[-2000:]
    assert [ask(machine, "id -un").strip() for machine in MACHINES] == ["root"] * len(MACHINES)
