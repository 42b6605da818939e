"""An operator's account with sudo, and not root, runs the site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import MACHINES, ask
from site_run import play

OPERATOR = "site-operator"
SUDOERS = f"/etc/sudoers.d/{OPERATOR}"
HOME = f"/home/{OPERATOR}"
# As on metal: Debian's installer brings sudo where root has no password. The account opens with the rack's own key.
MAKE = f"""
set -eu
if ! command -v sudo > /dev/null; then
    apt-get install --yes --quiet --no-install-recommends sudo
    touch /run/{OPERATOR}-sudo
fi
useradd --system --password '*' --create-home --home-dir {HOME} --shell /bin/bash {OPERATOR}
install -d -m 0700 -o {OPERATOR} -g {OPERATOR} {HOME}/.ssh
install -m 0600 -o {OPERATOR} -g {OPERATOR} /root/.ssh/authorized_keys {HOME}/.ssh/authorized_keys
"""
REMOVE = f"""
set -eu
rm -f {SUDOERS}
pkill -u {OPERATOR} || true
userdel --force --remove {OPERATOR}
if [ -e /run/{OPERATOR}-sudo ]; then
    SUDO_FORCE_REMOVE=yes apt-get purge --yes --quiet sudo  # root has no password, which sudo takes for a mistake
    rm /run/{OPERATOR}-sudo
fi
"""


@pytest.fixture(scope="module")
def operator() -> Iterator[str]:
    """An account on every machine that may do everything with sudo."""
    made = []
    try:
        for machine in MACHINES:
            made.append(machine)
            ask(machine, MAKE)
            ask(machine, f"install -m 0440 /dev/stdin {SUDOERS}", given=f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n")
        yield OPERATOR
    finally:
        for machine in made:
            ask(machine, REMOVE)


@pytest.mark.long
def test_the_whole_site_runs_by_an_account_with_sudo_and_changes_nothing(operator: str) -> None:
    since = {machine: ask(machine, "date '+%F %T'").strip() for machine in MACHINES}
    run = play("../site.yml", ansible_user=operator)
    assert run.status == 0, run.said[-3000:]
    assert run.failed == dict.fromkeys(MACHINES, 0)
    assert run.changed == dict.fromkeys(MACHINES, 0), run.changes
    for machine in MACHINES:
        said = ask(machine, f"journalctl --identifier sudo --since '{since[machine]}' --no-pager --output cat")
        assert f"{operator} : " in said, f"nobody used sudo on {machine}"


def test_an_account_that_may_not_use_sudo_changes_nothing(operator: str) -> None:
    """The control: it is sudo by which the account above is root."""
    for machine in MACHINES:
        ask(machine, f"mv {SUDOERS} {HOME}/kept")
    try:
        run = play("base.yml", ansible_user=operator)
    finally:
        for machine in MACHINES:
            ask(machine, f"mv {HOME}/kept {SUDOERS}")
    assert run.status != 0
    assert "sudo" in run.said
    assert run.changed == dict.fromkeys(MACHINES, 0), run.changes
