"""What one researcher keeps in S3 ends at a limit that is told, and another researcher goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machines import FACILITY, STORES, until
from researcher import CellError, Notebook, prepared_notebook
from site_run import play

MIB = 2**20
ROLE = "- hosts: all\n  become: true\n  gather_facts: false\n  roles: [ceph_s3_users]\n"
USERS = [{"name": "alice", "uid": 2001}, {"name": "bob", "uid": 2002}]
BYTES_MAX, OBJECTS_MAX, BUCKETS_MAX = 24 * MIB, 500, 4
# A refusal before the body was sent ends the connection, and now and then the gateway's words are lost with it.
REFUSED = {"QuotaExceeded", "403"}
S3 = """
import botocore.config, botocore.exceptions, botocore.session, os
style = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
s3 = botocore.session.get_session().create_client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=style,
                                                  region_name="us-east-1")
def refusal(function, **arguments):
    try:
        function(**arguments)
        return ""
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
def clear(bucket, prefix):
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
def used(bucket):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    sizes = [entry["Size"] for page in pages for entry in page.get("Contents", [])]
    return sum(sizes), len(sizes)
"""


@pytest.fixture(scope="module")
def alice() -> Iterator[Notebook]:
    with prepared_notebook(FACILITY, "alice", S3, 'clear("alice", "attack/")') as notebook:
        yield notebook


@pytest.fixture(scope="module")
def bob() -> Iterator[Notebook]:
    with prepared_notebook(FACILITY, "bob", S3, 'clear("bob", "attack/")') as notebook:
        yield notebook


@pytest.fixture(scope="module")
def small(alice: Notebook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Alice with a small limit beyond what she has."""
    playbook = tmp_path_factory.mktemp("play") / "users.yml"
    playbook.write_text(ROLE)
    said = alice.run("""
clear("alice", "attack/")
sizes = [used(bucket["Name"]) for bucket in s3.list_buckets()["Buckets"]]
say(bytes=sum(size for size, _ in sizes), objects=sum(count for _, count in sizes), buckets=len(sizes))
""")
    own = {
        "s3_gib_max": (said["bytes"] + BYTES_MAX) / 2**30,
        "s3_objects_max": said["objects"] + OBJECTS_MAX,
        "s3_buckets_max": said["buckets"] + BUCKETS_MAX,
    }
    try:
        done = play(str(playbook), accounts_users=[{**USERS[0], **own}, USERS[1]])
        assert done.status == 0, done.said[-2000:]
        yield
    finally:
        # Whatever has become of Alice's Python: other tests write as Alice, too.
        done = play(str(playbook), accounts_users=USERS)
        assert done.status == 0, done.said[-2000:]


@pytest.mark.usefixtures("small")
def test_bytes_in_s3_end_at_the_quota(alice: Notebook, bob: Notebook) -> None:
    """Each gateway counts for itself, and anew after each look at the others' count: the end comes after some looks."""
    said = alice.run(f"""
code, number = "", 0
while not code and number < {len(STORES) * BYTES_MAX // MIB * 2}:
    code = refusal(s3.put_object, Bucket="alice", Key=f"attack/bytes-{{number}}", Body=bytes({MIB}))
    number += 1
say(code=code, number=number)
""")
    assert said["code"] in REFUSED
    assert said["number"] >= BYTES_MAX // MIB
    # By the facility's own filesystem it is told in plain words; what is there can be read and deleted.
    with pytest.raises(CellError, match="you keep as many bytes or objects in S3 as you may"):
        alice.run(f"""
import fsspec
files = fsspec.filesystem("s3", skip_instance_cache=True)
for number in range(20):
    files.pipe_file(f"alice/attack/more-{{number}}", bytes({4 * MIB}))
""")
    assert alice.run('say(size=len(files.cat_file("alice/attack/bytes-0")))')["size"] == MIB
    assert bob.run(f'say(code=refusal(s3.put_object, Bucket="bob", Key="attack/fit", Body=bytes({MIB})))')["code"] == ""
    alice.run('clear("alice", "attack/")')
    fits = f'say(code=refusal(s3.put_object, Bucket="alice", Key="attack/fits", Body=bytes({MIB})))'
    until(lambda: alice.run(fits)["code"] == "")


@pytest.mark.usefixtures("small")
@pytest.mark.long
def test_objects_in_s3_end_at_the_quota(alice: Notebook, bob: Notebook) -> None:
    alice.run('clear("alice", "attack/")')
    said = alice.run(f"""
code, number = "", 0
while not code and number < {len(STORES) * OBJECTS_MAX * 2}:
    code = refusal(s3.put_object, Bucket="alice", Key=f"attack/object-{{number}}", Body=b"1")
    number += 1
say(code=code, number=number)
""")
    assert said["code"] in REFUSED
    assert said["number"] >= OBJECTS_MAX
    assert bob.run('say(code=refusal(s3.put_object, Bucket="bob", Key="attack/one", Body=b"1"))')["code"] == ""


@pytest.mark.usefixtures("small")
def test_buckets_end_at_the_limit(alice: Notebook, bob: Notebook) -> None:
    said = alice.run(f"""
codes = [refusal(s3.create_bucket, Bucket=f"alice-attack-{{number}}") for number in range({BUCKETS_MAX + 2})]
for number in range({BUCKETS_MAX + 2}):
    refusal(s3.delete_bucket, Bucket=f"alice-attack-{{number}}")
say(codes=codes)
""")
    assert said["codes"] == [""] * BUCKETS_MAX + ["TooManyBuckets"] * 2
    made = 'say(codes=[refusal(s3.create_bucket, Bucket="bob-one"), refusal(s3.delete_bucket, Bucket="bob-one")])'
    assert bob.run(made)["codes"] == ["", ""]
