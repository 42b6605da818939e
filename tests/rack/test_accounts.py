"""Researchers on the converged rack: the same people everywhere, and names and ids that are refused."""

from __future__ import annotations

from machines import MACHINES, STORES, ask
from site_run import play


def test_researchers_have_the_same_ids_on_every_machine() -> None:
    for machine in MACHINES:
        assert ask(machine, "id -u alice bob 2>/dev/null || for u in alice bob; do id -u $u; done").split() == [
            "2001",
            "2002",
        ]
        assert ask(machine, "getent group climate").strip() == "climate:x:3001:alice,bob"


def test_homes_are_their_owners_alone() -> None:
    for machine in MACHINES:
        listed = ask(machine, "stat --format '%a %U:%G %n' /home/alice /home/bob").splitlines()
        assert listed == ["700 alice:alice /home/alice", "700 bob:bob /home/bob"]


def test_researchers_sign_in_at_the_head_alone() -> None:
    assert ask("head1", "passwd --status alice").split()[1] == "P"
    for store in STORES:
        assert ask(store, "passwd --status alice").split()[1] == "L"
        assert ask(store, "getent passwd alice").strip().endswith(":/usr/sbin/nologin")


def test_whoever_cannot_be_made_is_named_and_nobody_is_made() -> None:
    wrong = {
        "accounts_users.zed.uid: 0 is the system's": {"name": "zed", "uid": 0},
        "2001 is alice's on this machine": {"name": "zoe", "uid": 2001},
        "accounts_users.sshd.uid: sshd has": {"name": "sshd", "uid": 2070},
        "'Zed Zebra' is no name for an account and a bucket": {"name": "Zed Zebra", "uid": 2071},
        "accounts_users.zia.groups: sudo has no gid": {"name": "zia", "uid": 2072, "groups": ["sudo"]},
        "accounts_passwords.yves: missing": {"name": "yves", "uid": 2073},
    }
    run = play("accounts.yml", accounts_users=list(wrong.values()))
    assert run.status != 0
    assert set(run.changed.values()) == {0}
    assert [said for said in wrong if said not in " ".join(run.said.split())] == []
    for machine in MACHINES:
        assert ask(machine, "getent passwd yves zed zia zoe", check=False) == ""
