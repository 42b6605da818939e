"""What the tests of placement ask a converged rack: its machines by ssh, the cluster, and its gateway."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from appliance.placement import MapClient
from appliance.placement.signature import Keys

HEAD, STORE = "head1", "store1"
BUCKET = "alice"
MIB = 2**20
HEAD_PYTHON = "/opt/appliance/analysis/bin/python"
PORT = 7600  # of the services, on the storage network
URL = "http://127.0.0.1:7483"  # of whichever answers, on every machine


def ssh_config() -> str:
    """Return the file that tells ssh how to reach the rack's machines."""
    state = Path(os.environ.get("APPLIANCE_STATE", "/var/lib/appliance"))
    return str(state / "racks" / os.environ.get("APPLIANCE_RACK", "rack") / "ssh_config")


def ssh(host: str, command: str, stdin: bytes = b"", expect: int = 0) -> str:
    """Run a shell command on a machine of the rack and return its output."""
    words = ["ssh", "-F", ssh_config(), host, command]
    done = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=180)
    assert done.returncode == expect, f"{command!r} on {host}: {done.returncode}: {done.stderr.decode()}"
    return done.stdout.decode()


def python(host: str, interpreter: str, source: str, argument: object) -> Any:
    """Run Python source on a machine, with ``argument`` as its JSON argument, and return the JSON that it prints."""
    # The argument goes through standard input: thousands of keys are too long for a command line.
    whole = f"import json\nargument = json.loads({json.dumps(json.dumps(argument))})\n{source}"
    return json.loads(ssh(host, f"{interpreter} -", whole.encode()))


def where(url: str, *options: str, keys: list[str] | None = None) -> list[dict[str, Any]]:
    """Run ``appliance where --json`` on the head and return its lines."""
    environment = (
        f"APPLIANCE_PLACEMENT_URL={URL} AWS_ENDPOINT_URL=http://127.0.0.1:7481 "
        f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/{BUCKET}"
    )
    arguments = [url, "--json", *options, *(["--null", "--keys-from", "-"] if keys else [])]
    stdin = "\0".join([*(keys or []), ""]).encode()
    out = ssh(HEAD, f"{environment} /opt/appliance/analysis/bin/appliance where {shlex.join(arguments)}", stdin)
    return [json.loads(line) for line in out.splitlines()]


# Asks the monitors what `ceph osd map POOL NAME` asks them, over one connection.
OSD_MAP = """
import rados
answers = []
with rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin") as cluster:
    for name in argument["names"]:
        command = {"prefix": "osd map", "pool": argument["pool"], "object": name, "format": "json"}
        # The monitors do not join the two halves of an escaped emoji, so nothing is escaped.
        code, out, status = cluster.mon_command(json.dumps(command, ensure_ascii=False), b"")
        assert code == 0, status
        answers.append(json.loads(out))
print(json.dumps(answers))
"""

PUT = """
import botocore.config, botocore.session
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
for key, size in argument["objects"]:
    s3.put_object(Bucket=argument["bucket"], Key=key, Body=b"x" * size)
for key, parts in argument["in_parts"]:
    upload = s3.create_multipart_upload(Bucket=argument["bucket"], Key=key)["UploadId"]
    done = []
    for number, size in enumerate(parts, 1):
        for _ in range(argument.get("times", 1)):  # a part sent again, as after a lost connection, has another name
            part = s3.upload_part(
                Bucket=argument["bucket"], Key=key, UploadId=upload, PartNumber=number, Body=b"x" * size
            )
        done.append({"ETag": part["ETag"], "PartNumber": number})
    s3.complete_multipart_upload(
        Bucket=argument["bucket"], Key=key, UploadId=upload, MultipartUpload={"Parts": done}
    )
print("null")
"""

DELETE = """
import botocore.config, botocore.session
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
for version in argument.get("versions", []):
    s3.delete_object(Bucket=argument["bucket"], Key=version[0], VersionId=version[1])
for key in argument.get("keys", []):
    s3.delete_object(Bucket=argument["bucket"], Key=key)
print("null")
"""

S3 = f"AWS_ENDPOINT_URL=http://127.0.0.1:7481 AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/{BUCKET} {HEAD_PYTHON}"


def osd_map(pool: str, names: list[str]) -> list[dict[str, Any]]:
    """Return `ceph osd map POOL NAME` of each name, from a single connection."""
    answers: list[dict[str, Any]] = python(STORE, "/usr/bin/python3", OSD_MAP, {"pool": pool, "names": names})
    return answers


def service_url(host: str = STORE) -> str:
    """Return the address of a machine's placement service as the control host sees it."""
    shown = subprocess.run(["ssh", "-F", ssh_config(), "-G", host], check=True, capture_output=True, text=True).stdout
    options = dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
    return f"http://{options['hostname']}:{PORT}"


@cache
def keys(user: str = BUCKET) -> Keys:
    """Return a researcher's S3 keys."""
    text = ssh(STORE, f"cat /etc/appliance/s3/{user}")
    found = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return Keys(found["aws_access_key_id"], found["aws_secret_access_key"])


def maps(host: str = STORE) -> MapClient:
    """Return a client of a machine's placement service, on the control host, as a researcher."""
    return MapClient(service_url(host), timeout=10, keys=keys)
