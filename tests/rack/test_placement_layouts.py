"""Objects of several RADOS objects, versions and tenants on the converged rack, against what RGW itself says."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
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

VERSIONED = """
import botocore.config, botocore.session
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
bucket = argument["bucket"]
s3.create_bucket(Bucket=bucket)
s3.put_object(Bucket=bucket, Key="before", Body=b"x" * 10)
s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
"""

# Sizes and copies in the data pool: what each piece really holds.
SIZES = """
import rados
sizes = []
with rados.Rados(conffile="/etc/ceph/ceph.conf", name="client.admin") as cluster:
    with cluster.open_ioctx(argument["pool"]) as pool:
        for name, locator in argument["objects"]:
            pool.set_locator_key(locator)
            sizes.append(pool.stat(name)[0])
print(json.dumps(sizes))
"""

VERSIONS = """
import botocore.config, botocore.session
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
print(json.dumps([[entry["Key"], entry["VersionId"]] for entry in
    s3.list_object_versions(Bucket=argument["bucket"])["Versions"]]))
"""

REMOVE_BUCKET = """
import botocore.config, botocore.session
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
s3.delete_bucket(Bucket=argument["bucket"])
print("null")
"""

RANGES = """
from appliance.placement import MapClient, ObjectLookup, Ranges
ranges = Ranges(MapClient(argument["url"]), ObjectLookup.from_environment())
print(json.dumps(ranges.hosts_of_ranges(argument["bucket"], [tuple(one) for one in argument["ranges"]])))
"""


@dataclass
class Uploaded:
    """Two buckets' objects that are more than their name tells."""

    prefix: str
    versioned: str
    objects: list[tuple[str, str]] = field(default_factory=list)  # bucket and key

    @cached_property
    def records(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return ``appliance where`` of each object, of one moment."""
        return self.look_up()

    def look_up(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the same of now."""
        found = {}
        for bucket, prefixes in ((BUCKET, (self.prefix, "_" + self.prefix)), (self.versioned, ("",))):
            for prefix in prefixes:
                found.update({(bucket, record["key"]): record for record in where(f"s3://{bucket}/{prefix}")})
        return found


@pytest.fixture(scope="module")
def uploaded() -> Iterator[Uploaded]:
    made = Uploaded(f"pl{uuid.uuid4().hex[:12]}/", f"{BUCKET}-{uuid.uuid4().hex[:12]}")
    objects = [("large", 130 * MIB), ("one", MIB), ("empty", 0)]
    in_parts = [("even", [5 * MIB, 5 * MIB, MIB]), ("uneven", [70 * MIB, 5 * MIB, 66 * MIB])]
    places = [made.prefix, "_" + made.prefix]
    here = {
        "objects": [(place + name, size) for place in places for name, size in objects],
        "in_parts": [(place + name, sizes) for place in places for name, sizes in in_parts[: 1 + (place[0] != "_")]],
    }
    there: dict[str, Any] = {"objects": [("plain", 5), ("_v", 66 * MIB)], "in_parts": [("parts", [5 * MIB, MIB])]}
    python(HEAD, S3, PUT, {"bucket": BUCKET, **here})
    python(HEAD, S3, VERSIONED + PUT, {"bucket": made.versioned, "times": 2, **there})
    made.objects = [(BUCKET, key) for key, _ in [*here["objects"], *here["in_parts"]]]
    made.objects += [(made.versioned, key) for key in ("before", "plain", "_v", "parts")]
    yield made
    python(HEAD, S3, DELETE, {"bucket": BUCKET, "keys": [key for bucket, key in made.objects if bucket == BUCKET]})
    versions = python(HEAD, S3, VERSIONS, {"bucket": made.versioned})
    python(HEAD, S3, DELETE, {"bucket": made.versioned, "versions": versions})
    python(HEAD, S3, REMOVE_BUCKET, {"bucket": made.versioned})


def manifest(bucket: str, key: str) -> list[tuple[int, int, str, str]]:
    """Return offset, bytes, RADOS name and locator of each piece, as radosgw-admin knows them."""
    told = json.loads(ask(STORE, f"radosgw-admin object manifest --bucket {bucket} --object {shlex.quote(key)}"))
    return [
        (entry["offset"], min(entry["size"], told["size"] - entry["offset"]), raw["oid"], raw["loc"])
        for entry in told["objects"]
        for raw in [entry["raw_obj"]]
        if entry["size"]
    ]


def pieces(record: dict[str, Any]) -> list[tuple[int, int, str, str]]:
    """Return the same of a line of ``appliance where``."""
    listed = record.get("pieces", [{"offset": 0, **record}])
    return [
        (piece["offset"], piece["bytes"], piece["rados_name"], piece.get("locator", ""))
        for piece in listed
        if piece["bytes"]
    ]


def test_pieces_are_those_that_the_gateway_names_and_the_cluster_holds(uploaded: Uploaded) -> None:
    records = uploaded.records
    assert sorted(records) == sorted(uploaded.objects)
    for bucket, key in uploaded.objects:
        assert pieces(records[bucket, key]) == manifest(bucket, key), (bucket, key)
    every = [piece for record in records.values() for piece in pieces(record)]
    assert len(every) > 20
    pool = records[BUCKET, f"{uploaded.prefix}one"]["pool"]
    sizes = python(STORE, "/usr/bin/python3", SIZES, {"pool": pool, "objects": [piece[2:] for piece in every]})
    assert sizes == [piece[1] for piece in every]


def test_pieces_lie_on_the_hosts_that_the_cluster_says(uploaded: Uploaded) -> None:
    def look() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        placed = [piece for record in uploaded.look_up().values() for piece in record.get("pieces", [record])]
        return placed, osd_map(placed[0]["pool"], [piece.get("locator", piece["rados_name"]) for piece in placed])

    cluster_map = maps().get()
    for piece, answer in zip(*in_one_epoch(look), strict=True):
        assert piece["pgid"] == answer["pgid"]
        assert piece["hosts"][0] == cluster_map.osds[answer["acting_primary"]]
        assert set(piece["hosts"]) == {cluster_map.osds[osd] for osd in answer["acting"]}


def test_a_researchers_process_learns_the_hosts_of_ranges(uploaded: Uploaded) -> None:
    records, key = uploaded.records, f"{uploaded.prefix}uneven"
    asked = [(key, 0, 141 * MIB), (key, 69 * MIB, 2 * MIB), (f"{uploaded.prefix}one", 0, MIB), (key + "none", 0, 1)]
    found = python(HEAD, S3, RANGES, {"url": URL, "bucket": BUCKET, "ranges": asked})
    assert found[3] == []
    expected: dict[str, int] = {}
    for piece in records[BUCKET, key]["pieces"]:
        for host in piece["hosts"]:
            expected[host] = expected.get(host, 0) + piece["bytes"]
    assert dict(found[0]) == expected
    touched = [piece for piece in records[BUCKET, key]["pieces"] if piece["offset"] in (64 * MIB, 70 * MIB)]
    assert {host for host, _ in found[1]} == {host for piece in touched for host in piece["hosts"]}
    assert {count for _, count in found[1]} <= {MIB, 2 * MIB}
    assert [host for host, _ in found[2]] == records[BUCKET, f"{uploaded.prefix}one"]["hosts"]
    version = python(HEAD, S3, RANGES, {"url": URL, "bucket": uploaded.versioned, "ranges": [("_v", 0, MIB)]})
    assert [host for host, _ in version[0]] == records[uploaded.versioned, "_v"]["pieces"][0]["hosts"]


def test_a_tenants_bucket_is_placed() -> None:
    user, bucket = f"pl{uuid.uuid4().hex[:8]}", f"pl{uuid.uuid4().hex[:8]}"
    uid = f"lab${user}"
    told = json.loads(ask(STORE, f"radosgw-admin user create --tenant lab --uid {user} --display-name {user}"))
    keys = told["keys"][0]
    as_user = (
        f"AWS_ENDPOINT_URL={ENDPOINT} AWS_ACCESS_KEY_ID={keys['access_key']} "
        f"AWS_SECRET_ACCESS_KEY={keys['secret_key']} {S3.split()[-1]}"
    )
    create = VERSIONED.split("s3.put_object")[0]
    try:
        python(HEAD, as_user, create + PUT, {"bucket": bucket, "objects": [("_k", 10)], "in_parts": []})
        cluster_map = maps().get(f"lab:{bucket}")
        pool = cluster_map.pool_of(f"lab:{bucket}").name
        marker = cluster_map.bucket(f"lab:{bucket}").marker

        def look() -> tuple[tuple[str, ...], dict[str, Any]]:
            calculated = maps().get(f"lab:{bucket}").hosts(f"lab/{bucket}", ["_k"])[0]
            return calculated, osd_map(pool, [f"{marker}__k"])[0]

        hosts, answer = in_one_epoch(look)
        assert hosts == tuple(cluster_map.osds[osd] for osd in answer["acting"])
        objects = [(f"{marker}___k", f"{marker}__k")]
        assert python(STORE, "/usr/bin/python3", SIZES, {"pool": pool, "objects": objects}) == [10]
    finally:
        ask(STORE, f"radosgw-admin user rm --uid '{uid}' --purge-data")


def test_the_readers_key_reads_the_data_pools_and_only_the_service_may_ask_it() -> None:
    entity = json.loads(ask(STORE, "ceph auth get client.layouts --format json"))[0]
    assert entity["caps"] == {"mon": "allow r", "osd": "allow r pool=default.rgw.buckets.data"}
    ceph = "--id layouts --keyring /etc/ceph/ceph.client.layouts.keyring"
    refused(STORE, f"rados {ceph} --pool default.rgw.buckets.data create probe", "Operation not permitted")
    refused(STORE, f"rados {ceph} --pool default.rgw.meta ls", "Operation not permitted")
    assert ask(STORE, "stat -c '%a %G' /run/appliance-layouts/socket").split() == ["660", "appliance-layouts"]
    connect = 'import socket; socket.socket(socket.AF_UNIX).connect("/run/appliance-layouts/socket")'
    refused(STORE, f"runuser -u {BUCKET} -- python3 -c {shlex.quote(connect)}", "PermissionError")
    ask(STORE, f"python3 -c {shlex.quote(connect)}")
    shown = ask(STORE, "systemctl show 'appliance-layouts@*' -p DynamicUser,Slice,ProtectSystem")
    assert set(shown.split()) == {"DynamicUser=yes", "Slice=storage.slice", "ProtectSystem=strict"}
