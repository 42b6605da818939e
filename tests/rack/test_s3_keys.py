"""Researchers get new S3 keys while work runs; the old ones end at their time, and not before."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from machines import FACILITY, MACHINES, STORES, ask, until
from site_run import play

ENDING = "/var/lib/appliance/s3-keys-ending.json"
OLD, PYTHON = "/run/test-old-keys", "/opt/appliance/analysis/bin/python"
# Puts and gets objects until it is told to stop, and says how many times, or what went wrong.
WORK = """
import os, botocore.session
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1")
done = 0
while not os.path.exists("/run/test-stop"):
    s3.put_object(Bucket="alice", Key="test-keys", Body=str(done).encode())
    assert s3.get_object(Bucket="alice", Key="test-keys")["Body"].read() == str(done).encode()
    done += 1
s3.delete_object(Bucket="alice", Key="test-keys")
print(done)
"""
LIST = """
import botocore.exceptions, botocore.session
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1")
try:
    s3.list_objects_v2(Bucket="alice")
    print("lists")
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""


def with_keys(file: str, program: str) -> str:
    environment = f"AWS_SHARED_CREDENTIALS_FILE={file} AWS_ENDPOINT_URL={FACILITY.facts['s3_endpoint_url']}"
    return ask(STORES[0], f"{environment} {PYTHON} -", given=program).strip()


def files(name: str) -> set[str]:
    """The keys of a researcher's, as each machine has them."""
    return {ask(machine, f"sha256sum < /etc/appliance/s3/{name}") for machine in MACHINES}


@pytest.fixture
def at_work() -> Iterator[str]:
    """A unit that works with the keys that alice has before."""
    ask(STORES[0], f"rm -f /run/test-stop; cp /etc/appliance/s3/alice {OLD}")
    environment = f"-E AWS_SHARED_CREDENTIALS_FILE={OLD} -E AWS_ENDPOINT_URL={FACILITY.facts['s3_endpoint_url']}"
    ask(STORES[0], "cat > /run/test-work.py", given=WORK)
    run = f"systemd-run --quiet --unit=test-work --remain-after-exit {environment}"
    ask(STORES[0], f"{run} --property=StandardOutput=file:/run/test-work.said {PYTHON} /run/test-work.py")
    yield "test-work"
    ask(STORES[0], f"touch /run/test-stop; systemctl stop test-work; rm -f /run/test-work* /run/test-stop {OLD}")


def test_new_keys_come_while_work_runs_and_the_old_ones_end_at_their_time(at_work: str) -> None:
    bobs, before = files("bob"), files("alice")
    assert len(before) == 1
    done = play("rotate_s3_keys.yml", ceph_s3_users_rotated=["alice"], ceph_s3_users_old_keys_hours=1)
    assert done.status == 0, done.said
    after = files("alice")
    assert len(after) == 1
    assert after != before
    assert files("bob") == bobs
    # Both open her bucket. Work went on, and a further run changes nothing.
    assert with_keys("/etc/appliance/s3/alice", LIST) == with_keys(OLD, LIST) == "lists"
    again = play("researchers.yml")
    assert again.changes == []
    assert files("alice") == after
    ask(STORES[0], "systemctl start appliance-s3-keys")
    assert with_keys(OLD, LIST) == "lists"
    ask(STORES[0], "touch /run/test-stop")
    until(lambda: "exited" in ask(STORES[0], f"systemctl show --property=SubState {at_work}"))
    assert ask(STORES[0], f"systemctl show --value --property=ExecMainStatus {at_work}").strip() == "0"
    assert int(ask(STORES[0], "cat /run/test-work.said")) > 20

    # As if the hour had passed.
    entries = json.loads(ask(STORES[0], f"cat {ENDING}"))
    assert [entry["user"] for entry in entries] == ["alice"]
    ask(STORES[0], f"cat > {ENDING}", given=json.dumps([{**entry, "ends": 0} for entry in entries]))
    ask(STORES[0], "systemctl start appliance-s3-keys")
    assert json.loads(ask(STORES[0], f"cat {ENDING}")) == []
    until(lambda: with_keys(OLD, LIST) == "InvalidAccessKeyId")
    assert with_keys("/etc/appliance/s3/alice", LIST) == "lists"
