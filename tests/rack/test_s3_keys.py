"""Researchers get new S3 keys while work runs; the old ones end at their time, and not before."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from machines import FACILITY, MACHINES, STORES, ask, until
from site_run import play

ENDING = "appliance/s3-keys-ending/"
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
    s3.list_objects_v2(Bucket="{}")
    print("lists")
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"])
"""


def opens(file: str, bucket: str, machine: str = STORES[0]) -> str:
    """What a machine's keys get who lists a bucket: that it is listed, or the gateway's word for why not."""
    environment = f"AWS_SHARED_CREDENTIALS_FILE={file} AWS_ENDPOINT_URL={FACILITY.facts['s3_endpoint_url']}"
    return ask(machine, f"{environment} {PYTHON} -", given=LIST.format(bucket)).strip()


def ending() -> dict[str, dict[str, object]]:
    """What the cluster keeps of keys that end."""
    found: dict[str, str] = json.loads(ask(STORES[0], f"ceph config-key dump {ENDING} --format json 2>/dev/null"))
    return {name: json.loads(entry) for name, entry in found.items()}


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
    assert opens("/etc/appliance/s3/alice", "alice") == opens(OLD, "alice") == "lists"
    again = play("researchers.yml")
    assert again.changes == []
    assert files("alice") == after
    ask(STORES[0], "systemctl start appliance-s3-keys")
    assert opens(OLD, "alice") == "lists"
    ask(STORES[0], "touch /run/test-stop")
    until(lambda: "exited" in ask(STORES[0], f"systemctl show --property=SubState {at_work}"))
    assert ask(STORES[0], f"systemctl show --value --property=ExecMainStatus {at_work}").strip() == "0"
    assert int(ask(STORES[0], "cat /run/test-work.said")) > 20

    # As if the hour had passed.
    ((key, entry),) = ending().items()
    assert entry["user"] == "alice"
    ask(STORES[0], f"ceph config-key set {key} -i -", given=json.dumps({**entry, "ends": 0}))
    ask(STORES[0], "systemctl start appliance-s3-keys")
    assert ending() == {}
    until(lambda: opens(OLD, "alice") == "InvalidAccessKeyId")
    assert opens("/etc/appliance/s3/alice", "alice") == "lists"


def test_a_run_that_leaves_a_machine_out_ends_no_key() -> None:
    before = files("bob")
    rotated = {"ceph_s3_users_rotated": ["bob"], "ceph_s3_users_old_keys_hours": 0}
    done = play("rotate_s3_keys.yml", "--limit", f"!{STORES[-1]}", **rotated)
    assert done.status == 0, done.said
    assert f"stay valid until a run has brought the new ones to {STORES[-1]}, too" in " ".join(done.said.split())
    ask(STORES[0], "systemctl start appliance-s3-keys")
    assert len(files("bob")) == 2
    for machine in (STORES[0], STORES[-1]):
        assert opens("/etc/appliance/s3/bob", "bob", machine) == "lists"
    # The next run of all brings them there, and the old ones end.
    assert play("researchers.yml").status == 0
    assert len(files("bob") - before) == len(files("bob")) == 1
    ask(STORES[0], "systemctl start appliance-s3-keys")
    assert ending() == {}
    assert opens("/etc/appliance/s3/bob", "bob", STORES[-1]) == "lists"


def test_a_misspelt_name_is_told_and_nobody_gets_new_keys() -> None:
    before = files("alice") | files("bob")
    done = play("rotate_s3_keys.yml", ceph_s3_users_rotated=["alcie"])
    assert done.status != 0
    assert "ceph_s3_users_rotated names alcie, and nobody who is present has this name" in " ".join(done.said.split())
    assert files("alice") | files("bob") == before


def test_old_keys_are_looked_for_all_the_time() -> None:
    assert ask(STORES[0], "systemctl is-enabled appliance-s3-keys.timer").strip() == "enabled"
    next_time = ask(STORES[0], "systemctl show --value --property=NextElapseUSecMonotonic appliance-s3-keys.timer")
    assert next_time.strip() not in ("", "infinity")
