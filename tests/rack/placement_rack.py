"""What the tests of placement ask a converged rack: its machines by ssh, the cluster, and its gateway."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from machines import FACILITY, HEAD, RACK, STORES, ask, until
from tls_forward import forward

from appliance.placement import MapClient
from appliance.placement.auth.sigv4 import Keys

STORE = STORES[0]
BUCKET = "alice"
MIB = 2**20
HEAD_PYTHON = "/opt/appliance/analysis/bin/python"
FACTS = FACILITY.facts
PORT = FACTS["placement_port"]  # of the services, on the storage network
URL = FACTS["s3_endpoint_placement_url"]  # of whichever answers, on every machine
ENDPOINT = FACTS["s3_endpoint_url"]  # of the S3 gateways, on every machine

T = TypeVar("T")


def python(host: str, interpreter: str, source: str, argument: object) -> Any:
    """Run Python source on a machine, with ``argument`` as its JSON argument, and return the JSON that it prints."""
    # The argument goes through standard input: thousands of keys are too long for a command line.
    whole = f"import json\nargument = json.loads({json.dumps(json.dumps(argument))})\n{source}"
    return json.loads(ask(host, f"{interpreter} -", given=whole))


def where(url: str, *options: str, keys: list[str] | None = None) -> list[dict[str, Any]]:
    """Run ``appliance where --json`` on the head and return its lines."""
    environment = (
        f"APPLIANCE_PLACEMENT_URL={URL} AWS_ENDPOINT_URL={ENDPOINT} "
        f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/{BUCKET}"
    )
    arguments = [url, "--json", *options, *(["--null", "--keys-from", "-"] if keys else [])]
    given = "\0".join([*(keys or []), ""])
    out = ask(HEAD, f"{environment} /opt/appliance/analysis/bin/appliance where {shlex.join(arguments)}", given=given)
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

S3 = f"AWS_ENDPOINT_URL={ENDPOINT} AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/{BUCKET} {HEAD_PYTHON}"


def osd_map(pool: str, names: list[str]) -> list[dict[str, Any]]:
    """Return `ceph osd map POOL NAME` of each name, from a single connection."""
    answers: list[dict[str, Any]] = python(STORE, "/usr/bin/python3", OSD_MAP, {"pool": pool, "names": names})
    return answers


@cache
def service_url(host: str = STORE) -> str:
    """Return an address on the control host behind which a machine's placement service answers."""
    return f"http://127.0.0.1:{forward(RACK.machine(host).address, int(PORT), FACILITY.front.authority)}"


@cache
def keys(user: str = BUCKET) -> Keys:
    """Return a researcher's S3 keys."""
    text = ask(STORE, f"cat /etc/appliance/s3/{user}")
    found = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return Keys(found["aws_access_key_id"], found["aws_secret_access_key"])


def maps(host: str = STORE) -> MapClient:
    """Return a client of a machine's placement service, on the control host, as a researcher."""
    return MapClient(service_url(host), timeout=10, keys=keys)


def in_one_epoch(look: Callable[[], T]) -> T:
    """Return what ``look`` finds while the cluster is at rest and the map stays as it is.

    Calculation and cluster are asked one after the other: where the map changes in between, they speak of two.
    """

    def found() -> tuple[T] | None:
        before = epoch_at_rest()
        seen = look() if before else None
        return (seen,) if seen is not None and epoch_at_rest() == before else None

    return until(found)[0]


def epoch_at_rest() -> int:
    """Return the epoch that monitors and placement service know; 0 where they differ or data are on their way."""
    told = ask(STORE, "ceph osd dump --format json; echo; ceph pg dump pgs_brief --format json")
    dump, groups = (json.loads(line) for line in told.splitlines() if line.startswith("{"))
    moving = any(group["state"] != "active+clean" or group["acting"] != group["up"] for group in groups["pg_stats"])
    return 0 if moving or maps().get().epoch != dump["epoch"] else int(dump["epoch"])
