"""Storage on the converged rack: the cluster, its S3 address on every machine, and what is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from machines import FACILITY, MACHINES, RACK, STORES, ask, until
from site_run import PROGRAMS, ceph, play, site_secrets

POOL = "default.rgw.buckets.data"
ENDPOINT = FACILITY.facts["s3_endpoint_url"]
PORTS = {name: value for name, value in FACILITY.facts.items() if name.endswith("_port")}
MIB = 2**20
# A client of the environment that researchers have, with one researcher's keys.
CLIENT = f"""
import hashlib, json, sys
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

session = botocore.session.get_session()
config = Config(s3={{"addressing_style": "path"}}, request_checksum_calculation="when_required")
s3 = session.create_client("s3", endpoint_url="{ENDPOINT}", region_name="us-east-1", config=config)
"""


def s3(machine: str, user: str, code: str) -> str:
    """Run a few lines with an S3 client as a researcher on a machine, and return what they print."""
    keys = f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/{user}"
    return ask(machine, f"{keys} /opt/appliance/analysis/bin/python -", given=CLIENT + code)


def test_every_gateway_answers_a_notice_on_each_object_of_notices() -> None:
    """Also where the object was not the last one written: a replica that takes the answer loses it."""
    rados = "rados --pool default.rgw.control"
    ask(STORES[0], f"for each in 0 1 2 3 4 5 6 7; do {rados} touch notify.$each; done")
    answers = [ask(STORES[0], f"{rados} notify notify.{each} of-a-test 2>&1 || true") for each in range(8)]
    assert [said.count("reply client.") for said in answers] == [len(STORES)] * 8, answers


@pytest.fixture
def key() -> Iterator[str]:
    name = f"storage-test/{uuid.uuid4()}"
    yield name
    s3("head1", "alice", f"s3.delete_object(Bucket='alice', Key={name!r})")


def put(key: str, size: int) -> str:
    """Write an object of alice's from the head, and return its digest."""
    code = f"""
import os
body = os.urandom({size})
s3.put_object(Bucket="alice", Key={key!r}, Body=body)
print(hashlib.sha256(body).hexdigest())
"""
    return s3("head1", "alice", code).strip()


def digest_on(machine: str, key: str) -> str:
    """The digest of an object of alice's as a machine reads it."""
    code = f"print(hashlib.sha256(s3.get_object(Bucket='alice', Key={key!r})['Body'].read()).hexdigest())"
    return s3(machine, "alice", code).strip()


def rados_objects(part: str) -> dict[str, int]:
    """Sizes of the RADOS objects whose names contain a text, by name."""
    names = [line for line in ask(STORES[0], f"rados -p {POOL} ls").splitlines() if part in line]
    sizes = {}
    for name in names:
        sizes[name] = int(ask(STORES[0], f"rados -p {POOL} stat '{name}'").rsplit("size ", 1)[1])
    return sizes


def served_by(machine: str, times: int = 6) -> set[str]:
    """Names of the hosts whose gateways answer at a machine's S3 address."""
    code = f"""
import http.client
for _ in range({times}):
    connection = http.client.HTTPConnection("127.0.0.1", {PORTS["s3_endpoint_port"]}, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    print(answer.getheader("x-appliance-served-by"))
"""
    return set(ask(machine, "/usr/bin/python3.13 -", given=code).split())


def settled() -> None:
    """Wait until the cluster is healthy again."""
    until(lambda: ceph("health")["status"] == "HEALTH_OK", lambda: ceph("health"))


def test_cluster_is_healthy_and_whole() -> None:
    settled()
    status = ceph("status")
    assert sorted(status["quorum_names"]) == sorted(STORES)
    osds = status["osdmap"]
    assert osds["num_osds"] == osds["num_up_osds"] == osds["num_in_osds"] == len(STORES)
    assert status["mgrmap"]["available"]


def test_release_is_at_or_above_the_security_floor() -> None:
    versions = ceph("versions")["overall"]
    assert len(versions) == 1
    number = next(iter(versions)).split()[2]
    assert tuple(int(part) for part in number.split("+")[0].split("-")[0].split(".")) >= (20, 2, 4)


def test_only_the_cipher_that_the_floor_brings_is_accepted() -> None:
    said = ask(STORES[0], "ceph mon dump 2>/dev/null")
    assert "auth_allowed_ciphers aes256k\n" in said


def test_pools_have_copies_on_different_hosts_and_fixed_placement_groups() -> None:
    pools = {pool["pool_name"]: pool for pool in ceph("osd", "pool", "ls", "detail")}
    assert (pools[POOL]["size"], pools[POOL]["min_size"], pools[POOL]["pg_num"]) == (2, 1, 128)
    assert pools["default.rgw.buckets.index"]["size"] == 3
    assert {pool["pg_autoscale_mode"] for pool in pools.values()} == {"off"}
    rule = ceph("osd", "crush", "rule", "dump", "replicated_rule")
    assert {step.get("type") for step in rule["steps"]} == {None, "host"}


def test_daemons_run_in_the_storage_slice() -> None:
    for store in STORES:
        listed = ask(
            store, "systemctl list-units --plain --no-legend --type=service --state=active 'ceph-*@*' haproxy.service"
        )
        units = [line.split()[0] for line in listed.splitlines()]
        assert {unit.split("@")[0] for unit in units} == {
            "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-radosgw", "haproxy.service"
        }  # fmt: skip
        shown = ask(store, f"systemctl show --property Slice --value {' '.join(units)}").split()
        assert set(shown) == {"storage.slice"}


def test_an_object_of_20_mb_is_one_rados_object(key: str) -> None:
    put(key, 20_000_000)
    assert list(rados_objects(key).values()) == [20_000_000]


def test_a_larger_object_is_cut_at_64_mib(key: str) -> None:
    written = put(key, 100 * MIB)
    pieces = ask(STORES[0], f"radosgw-admin object stat --bucket alice --object '{key}'")
    assert json.loads(pieces)["manifest"]["rules"][0]["val"]["stripe_max_size"] == 64 * MIB
    assert rados_objects(key)
    assert digest_on("store1", key) == written


def test_every_storage_host_is_served_by_its_own_gateway() -> None:
    assert {store: served_by(store) for store in STORES} == {store: {store} for store in STORES}


def test_the_head_is_served_by_all_gateways() -> None:
    assert served_by("head1", 12) == set(STORES)


def test_a_stopped_gateway_is_stood_in_for(key: str) -> None:
    written = put(key, MIB)
    store = STORES[1]
    ask(store, f"systemctl stop ceph-radosgw@rgw.{store}.service")
    try:
        answered = served_by(store)
        read = digest_on(store, key)
    finally:
        ask(store, f"systemctl start ceph-radosgw@rgw.{store}.service")
    assert answered <= set(STORES) - {store}
    assert read == written
    until(lambda: served_by(store) == {store})


def test_a_large_answer_is_not_lost_when_the_balancer_reads_its_configuration_anew(key: str) -> None:
    written = put(key, 50 * MIB)
    code = f"""
import subprocess
body = s3.get_object(Bucket="alice", Key={key!r})["Body"]
digest = hashlib.sha256(body.read(1000))
subprocess.run(["systemctl", "reload", "haproxy.service"], check=True)
while piece := body.read(1 << 20):
    digest.update(piece)
print(digest.hexdigest())
"""
    assert s3("store1", "alice", code).strip() == written


def test_counters_of_the_s3_address_are_there_for_the_machine_alone() -> None:
    metrics = f"http://127.0.0.1:{PORTS['s3_endpoint_metrics_port']}/metrics"
    fetch = f"import urllib.request; print(urllib.request.urlopen('{metrics}').read().decode())"
    assert "haproxy_backend_http_responses_total" in ask("store1", f'/usr/bin/python3.13 -c "{fetch}"')
    listening = ask("store1", "ss --tcp --listening --numeric --no-header")
    ours = {PORTS[f"s3_endpoint{name}_port"] for name in ("", "_metrics", "_placement")}
    expected = {f"127.0.0.1:{port}" for port in ours} | {
        f"127.0.0.1:{PORTS['ceph_rgw_port']}",
        f"0.0.0.0:{PORTS['ceph_rgw_tls_port']}",
    }
    suffixes = tuple(f":{port}" for port in {*ours, PORTS["ceph_rgw_port"], PORTS["ceph_rgw_tls_port"]})
    assert {line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(suffixes)} == expected


def test_keys_lie_on_every_machine_for_root_alone() -> None:
    texts = set()
    for machine in MACHINES:
        listed = ask(machine, "stat --format '%a %U %n' /etc/appliance/s3 /etc/appliance/s3/*").splitlines()
        assert listed[:3] == [
            "700 root /etc/appliance/s3", "400 root /etc/appliance/s3/alice", "400 root /etc/appliance/s3/bob"
        ]  # fmt: skip
        texts.add(ask(machine, "sha256sum /etc/appliance/s3/*"))
    assert len(texts) == 1


def test_the_admin_key_is_on_the_monitors_hosts_alone() -> None:
    listed = "stat --format '%a %U' /etc/ceph/ceph.client.admin.keyring"
    assert {ask(machine, listed, check=False).strip() for machine in STORES} == {"600 root"}
    assert ask("head1", listed, check=False) == ""


def test_nobody_reads_anothers_bucket(key: str) -> None:
    put(key, 1000)
    code = f"""
key = {key!r}
for operation, arguments in (("get_object", {{"Key": key}}), ("list_objects_v2", {{}}), ("put_object", {{"Key": key}})):
    try:
        getattr(s3, operation)(Bucket="alice", **arguments)
        print("allowed")
    except ClientError as error:
        print(error.response["Error"]["Code"])
"""
    assert s3("head1", "bob", code).split() == ["AccessDenied"] * 3


def test_an_older_release_is_refused_before_anything_changes() -> None:
    run = play("storage.yml", ceph_common_release_floor="99.0.0")
    assert run.status != 0
    assert set(run.changed.values()) == {0}
    said = " ".join(run.said.split())
    for part in ("offers store1 Ceph 20.", "security floor is 99.0.0", "CVE-2025-30156", "Way out"):
        assert part in said


def test_wrong_disks_are_refused_all_at_once_and_nothing_changes() -> None:
    own = f"/dev/disk/by-id/{RACK.name}-{{{{ inventory_hostname }}}}-disk1"
    run = play(
        "storage.yml",
        "--start-at-task",
        "Refuse disks that hold anything",
        ceph_osd_devices=["/dev/sda", "/dev/disk/by-id/none", own],
        ceph_osd_fsid="11111111-2222-3333-4444-555555555555",
    )
    assert run.status != 0
    assert set(run.changed.values()) == {0}
    for part in ("is no stable name", "none does not exist", "of another cluster", "nothing was changed", "way out"):
        assert part in run.said


def test_a_second_run_changes_nothing_and_shows_no_secret() -> None:
    runs = [play("accounts.yml", "-vvv", "--diff"), play("storage.yml", "-vvv", "--diff")]
    said = "\n".join(run.said for run in runs)
    assert [run.status for run in runs] == [0, 0], said[-4000:]
    assert {number for run in runs for number in run.changed.values()} == {0}
    hidden = site_secrets()
    assert len(hidden) > 10
    assert [name for name, secret in hidden.items() if secret in said] == []
    # A word that is in the journal for certain: a search that looks nowhere would find no secret either.
    canary = f"canary-{uuid.uuid4().hex}"
    for machine in MACHINES:
        # The machine looks through its own journal; the secrets reach it over standard input, and it says only which.
        search = (
            f"exec 3<&0; logger {canary}; journalctl --sync; journalctl --output cat --quiet </dev/null"
            " | grep --only-matching --fixed-strings --file /dev/fd/3 | sort -u"
        )
        given = "\n".join([canary, *hidden.values()])
        found = set(ask(machine, f"bash -c {json.dumps(search)}", given=given).split())
        assert canary in found
        assert [name for name, secret in hidden.items() if secret in found] == []


def test_a_host_that_was_off_comes_back_with_its_data(key: str) -> None:
    settled()
    written = put(key, 20_000_000)
    store = STORES[-1]
    power = [str(PROGRAMS / "appliance"), "rack", "--name", RACK.name, "power"]
    before = ask(store, "cat /etc/appliance/osd/*.conf; ls /etc/appliance/osd")
    subprocess.run([*power, "off", store], check=True, capture_output=True)
    try:
        assert digest_on("head1", key) == written
        meanwhile = put(f"{key}-meanwhile", MIB)
    finally:
        subprocess.run([*power, "on", store], check=True, capture_output=True)
    settled()
    assert ask(store, "cat /etc/appliance/osd/*.conf; ls /etc/appliance/osd") == before
    assert ceph("osd", "stat")["num_up_osds"] == len(STORES)
    assert served_by(store) == {store}
    assert digest_on(store, key) == written
    assert digest_on(store, f"{key}-meanwhile") == meanwhile
    s3("head1", "alice", f"s3.delete_object(Bucket='alice', Key={key + '-meanwhile'!r})")
    assert hashlib.sha256(b"").hexdigest() != written
