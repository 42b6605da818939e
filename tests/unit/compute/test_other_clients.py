"""S3 with other libraries than ours, from nothing but the environment of a researcher's unit.

boto3 is botocore underneath; boto3 and pyarrow themselves are tried on a rack, where an environment has them.
"""

from __future__ import annotations

import os
from pathlib import Path

import programs
from s3_endpoint import S3Endpoint

from appliance.researcher.environment import Addresses, common_environment

PROGRAM = """
from botocore.session import Session
client = Session().create_client("s3")
client.put_object(Bucket="alice", Key="other/one", Body=b"as it is")
print(client.get_object(Bucket="alice", Key="other/one")["Body"].read().decode())
print([found["Key"] for found in client.list_objects_v2(Bucket="alice", Prefix="other/")["Contents"]])
"""


def test_botocore_needs_nothing_but_the_environment(endpoint: S3Endpoint, credentials: Path, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(PROGRAM)
    addresses = Addresses(s3_endpoint=endpoint.url("127.0.0.1"), placement_url="http://127.0.0.1:1")
    given = {
        **common_environment("x.service", "/nix/store/x", addresses),
        "PATH": os.environ["PATH"],
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
    }
    endpoint.log.clear()
    endpoint.headers.clear()
    assert programs.run(program, **given) == "as it is\n['other/one']\n"
    assert (endpoint.folder / "alice" / "other/one").read_bytes() == b"as it is"
    sent = {name for headers in endpoint.headers for name in headers}
    assert not [name for name in sent if "checksum" in name or name == "x-amz-trailer"]
