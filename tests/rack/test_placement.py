"""Placement on the converged rack: what is calculated against what the cluster says and what lies on its disks."""

from __future__ import annotations

import json
import random
import shlex
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from machines import HEAD, ask, refused
from placement_rack import (
    BUCKET,
    DELETE,
    ENDPOINT,
    MIB,
    PUT,
    S3,
    STORE,
    URL,
    in_one_epoch,
    maps,
    osd_map,
    python,
    where,
)

from appliance.placement import PlacementMap
from appliance.placement.model.rjenkins import hash_names, stable_mod

# Keys that a name, a shell, a URL or an encoding may stumble over.
AWKWARD = [
    "plain",
    "with space",
    "  two leading and two trailing spaces  ",
    "Grüße/Höhe über Null",
    "海面水温/0.0",
    "😀",
    "e\u0301 decomposed",
    "_one",
    "__two",
    "___three",
    "_",
    "_multipart_not.really",
    "_shadow_not really",
    "_with:colon_in it",
    "trailing_",
    "trailing/",
    "a//b///c",
    "100%",
    "%41 is not A",
    "plus+and&and=and?and#",
    "quote\"quote'quote`",
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "$HOME;$(reboot)|<>*",
    "~tilde",
    "-dash",
    ".",
    "..",
    "../up",
    "x" * 1000,
    "ü" * 500,
    "_" + "y" * 999,
    "deep/" * 150,
    "zarr.json",
    "c/0/0/0",
]


def many_keys() -> list[str]:
    """Return the awkward keys, eight thousand of a Zarr array's, and two thousand made at random."""
    chooser = random.Random(7)  # the same keys on every run
    letters = "abcXYZ019 _-/.%+äßéЖ日😀"
    made = {"".join(chooser.choices(letters, k=chooser.randint(1, 60))) for _ in range(2000)}
    return [
        *AWKWARD,
        *(f"era5/sst/c/{t}/{y}/{x}" for t in range(80) for y in range(10) for x in range(10)),
        *sorted(made),
    ]


# Reads which objects lie in each placement group. (`rados --pgid … ls` ends at the first object that has a locator: it
# takes that one's name for its place, and so for another group's.)
LIST_GROUPS = """
import subprocess
found = {}
for pg in argument["pgs"]:
    out = subprocess.run(["rados", "--pgid", pg, "ls", "--format", "json"], check=True, capture_output=True).stdout
    found.update({entry["name"]: pg for entry in json.loads(out or "[]")})
print(json.dumps(found))
"""

# Reads objects' sizes, with and without their locators; None where no object is found.
STAT = """
import rados
def size(pool, name, key):
    pool.set_locator_key(key)
    try:
        return pool.stat(name)[0]
    except rados.ObjectNotFound:
        return None
with rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin") as cluster:
    with cluster.open_ioctx(argument["pool"]) as pool:
        sizes = [[size(pool, name, ""), size(pool, name, key)] for name, key in argument["objects"]]
print(json.dumps(sizes))
"""


@pytest.fixture(scope="module")
def cluster_map() -> PlacementMap:
    return maps().get(BUCKET)


def test_thousands_of_keys_are_placed_as_ceph_osd_map_says(cluster_map: PlacementMap) -> None:
    keys = many_keys()
    assert len(keys) >= 10_000
    pool = cluster_map.pool_of(BUCKET).name

    def look() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        records = where(f"s3://{BUCKET}", keys=keys)
        return records, osd_map(pool, [record.get("locator", record["rados_name"]) for record in records])

    records, answers = in_one_epoch(look)
    assert [record["key"] for record in records] == keys
    for record, answer in zip(records, answers, strict=True):
        assert record["pgid"] == answer["pgid"], record["key"]
        hosts = [cluster_map.osds[osd] for osd in answer["acting"]]
        assert sorted(record["hosts"]) == sorted(hosts), record["key"]
        assert record["hosts"][0] == cluster_map.osds[answer["acting_primary"]], record["key"]


@pytest.fixture(scope="module")
def uploaded() -> Iterator[str]:
    """Upload an object for each awkward key, two large ones and one in parts; return the prefix that leads to them."""
    prefix = f"pt{uuid.uuid4().hex[:12]}/"
    # The prefix would hide a leading underscore, so those keys keep their own and are told apart by it.
    objects = [(prefixed(prefix, key), len(key)) for key in AWKWARD]
    objects += [(prefix + "one chunk", 64 * MIB), (prefix + "more than a chunk", 64 * MIB + 1)]
    in_parts = [(prefix + "in parts", [5 * MIB, MIB])]
    python(HEAD, S3, PUT, {"bucket": BUCKET, "objects": objects, "in_parts": in_parts})
    yield prefix
    keys = [key for key, _ in objects] + [key for key, _ in in_parts]
    python(HEAD, S3, DELETE, {"bucket": BUCKET, "keys": keys})


def prefixed(prefix: str, key: str) -> str:
    """Return a key of the test's own that begins as ``key`` does: underscores stay in front."""
    bare = key.lstrip("_")
    return "_" * (len(key) - len(bare)) + prefix + bare


def listed(uploaded: str) -> list[dict[str, Any]]:
    """Return what ``appliance where`` says of all uploaded objects."""
    return [record for shown in ("", "_", "__", "___") for record in where(f"s3://{BUCKET}/{shown}{uploaded}")]


def locators(pool: str) -> dict[str, str | None]:
    """Return the locator, if any, of each RADOS object in a pool, by name."""
    entries = json.loads(ask(STORE, f"rados --pool {pool} ls --format json"))
    return {entry["name"]: entry.get("locator") for entry in entries}


def test_real_objects_lie_in_the_groups_that_are_calculated(cluster_map: PlacementMap, uploaded: str) -> None:
    records = listed(uploaded)
    assert len(records) == len(AWKWARD) + 3, "every awkward key is listed, whatever is in it"
    pool = cluster_map.pool_of(BUCKET)
    hashes = hash_names([where for where in locators(pool.name).values() if where])
    hidden = {pool.pgid(pg) for pg in stable_mod(hashes, pool.pg_num).tolist()}
    plain = [record for record in records if record["pgid"] not in hidden]
    assert len(plain) > len(AWKWARD) / 2
    plain = plain[::2]  # each group costs the start of a program
    lying = python(STORE, "/usr/bin/python3", LIST_GROUPS, {"pgs": sorted({record["pgid"] for record in plain})})
    assert {record["rados_name"]: lying.get(record["rados_name"]) for record in plain} == {
        record["rados_name"]: record["pgid"] for record in plain
    }


def test_an_underscore_in_front_places_by_the_locator(cluster_map: PlacementMap, uploaded: str) -> None:
    pool = cluster_map.pool_of(BUCKET).name
    set_by_rgw = locators(pool)
    records = listed(uploaded)
    for record in records:
        assert set_by_rgw[record["rados_name"]] == record.get("locator"), record["key"]
    escaped = [record for record in records if "locator" in record]
    assert len(escaped) == sum(key.startswith("_") for key in AWKWARD)
    asked = osd_map(cluster_map.pool_of(BUCKET).name, [record["locator"] for record in escaped])
    for record, answer in zip(escaped, asked, strict=True):
        assert record["pgid"] == answer["pgid"], record["key"]
    objects = [(record["rados_name"], record["locator"]) for record in escaped]
    sizes = python(STORE, "/usr/bin/python3", STAT, {"pool": pool, "objects": objects})
    assert sizes == [[None, record["bytes"]] for record in escaped], "by the name alone nothing is found"


def test_where_says_which_objects_are_not_whole(uploaded: str) -> None:
    records = {record["key"].removeprefix(uploaded): record for record in where(f"s3://{BUCKET}/{uploaded}")}
    assert records["one chunk"]["whole"] is True
    assert records["more than a chunk"]["whole"] is False
    assert [piece["bytes"] for piece in records["more than a chunk"]["pieces"]] == [64 * MIB, 1]
    assert records["in parts"]["whole"] is False
    assert [piece["bytes"] for piece in records["in parts"]["pieces"]] == [5 * MIB, MIB]
    assert records["one chunk"]["bytes"] == 64 * MIB


def test_an_object_of_one_chunk_is_one_rados_object(cluster_map: PlacementMap, uploaded: str) -> None:
    record = next(record for record in where(f"s3://{BUCKET}/{uploaded}one chunk"))
    pool = cluster_map.pool_of(BUCKET).name
    assert f"size {64 * MIB}" in ask(STORE, f"rados --pool {pool} stat {shlex.quote(record['rados_name'])}")


CREATE = """
import botocore.config, botocore.session
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
s3.create_bucket(Bucket=argument["bucket"])
print("null")
"""

REMOVE = CREATE.replace("create_bucket", "delete_bucket")


def test_a_bucket_made_just_now_is_placed_at_once() -> None:
    bucket = f"{BUCKET}-{uuid.uuid4().hex[:12]}"
    python(HEAD, S3, CREATE, {"bucket": bucket})
    try:
        assert maps().get(bucket).hosts(bucket, ["a"])[0], "the service looks for a bucket that it does not know"
    finally:
        python(HEAD, S3, REMOVE, {"bucket": bucket})


def test_the_services_keys_read_the_map_and_buckets_records_and_no_data() -> None:
    entity = json.loads(ask(STORE, "ceph auth get client.placement --format json"))[0]
    assert entity["caps"] == {"mon": "allow r", "mgr": "allow r"}
    ceph = "--id placement --keyring /etc/ceph/ceph.client.placement.keyring"
    assert "epoch" in ask(STORE, f"ceph {ceph} osd stat")
    refused(STORE, f"ceph {ceph} osd set noout", "EACCES: access denied")
    refused(STORE, f"ceph {ceph} auth ls", "EACCES: access denied")
    listing = (
        f"APPLIANCE_PLACEMENT_URL={URL} AWS_ENDPOINT_URL={ENDPOINT} "
        f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/placement.s3 /opt/appliance/analysis/bin/appliance where"
    )
    refused(STORE, f"{listing} s3://{BUCKET}", "may not list bucket")


def test_the_service_runs_without_rights() -> None:
    shown = ask(STORE, "systemctl show appliance-placement -p DynamicUser,Slice,ProtectSystem,ActiveState,MemoryMax")
    assert set(shown.split()) >= {
        "DynamicUser=yes",
        "Slice=storage.slice",
        "ProtectSystem=strict",
        "ActiveState=active",
    }
    assert "MemoryMax=infinity" not in shown
