"""A bucket that bears the name of a researcher who comes later stops nobody's work."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import MACHINES, STORES, ask
from site_run import play

ROLE = "- hosts: all\n  become: true\n  gather_facts: false\n  roles: [ceph_s3_users]\n"
BUCKET = """
import botocore.config, botocore.session, sys
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
getattr(s3, sys.argv[1] + "_bucket")(Bucket=sys.argv[2])
"""


def alice(verb: str, bucket: str) -> None:
    keys = "set -a; . /etc/appliance/client.env; AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/alice"
    ask("head1", f"{keys}; /opt/appliance/analysis/bin/python - {verb} {bucket}", given=BUCKET)


@pytest.fixture
def name() -> Iterator[str]:
    """A bucket of alice's that bears the name of somebody who is no researcher yet."""
    name = f"zoe-{secrets.token_hex(3)}"
    alice("create", name)
    yield name
    ask(STORES[0], f"radosgw-admin bucket rm --bucket {name} --purge-objects", check=False)
    for user in (name, f"{name}-2"):
        ask(STORES[0], f"radosgw-admin user rm --uid {user} --purge-data", check=False)
        for machine in MACHINES:
            ask(machine, f"rm -f /etc/appliance/s3/{user}")


def test_the_run_says_whose_it_is_and_serves_everybody(name: str, tmp_path: Path) -> None:
    playbook = tmp_path / "users.yml"
    playbook.write_text(ROLE)
    users = [{"name": user, "uid": 2100 + number} for number, user in enumerate(("alice", name, f"{name}-2"))]

    done = play(str(playbook), accounts_users=users)

    assert done.status == 0, done.said[-2000:]
    said = " ".join(done.said.split())
    assert f"{name} has no bucket of their own name: s3://{name} belongs to alice" in said, said[-2000:]
    for machine in MACHINES:
        # Keys of all three, and no key in what the run says.
        for user in (name, f"{name}-2"):
            assert "aws_secret_access_key" in ask(machine, f"cat /etc/appliance/s3/{user}")
    assert "aws_secret" not in said
    owner = 'radosgw-admin bucket stats --bucket {} | sed -n \'s/.*"owner": "\\(.*\\)".*/\\1/p\''
    assert ask(STORES[0], owner.format(f"{name}-2")).split() == [f"{name}-2"]
    assert ask(STORES[0], owner.format(name)).split() == ["alice"]

    again = play(str(playbook), accounts_users=users)
    assert set(again.changed.values()) == {0}, again.said[-2000:]
    # The name is free again, and the next run gives it to whom it names.
    alice("delete", name)
    assert play(str(playbook), accounts_users=users).status == 0
    assert ask(STORES[0], owner.format(name)).split() == [name]
