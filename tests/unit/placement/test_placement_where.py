"""``appliance where`` with a map from a loopback service."""

import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ceph_reference
import pytest
from click.testing import CliRunner, Result
from example_map import MARKER, document

from appliance.placement import PlacementMap, PlacementUnavailable, site
from appliance.placement.cli import placement, where
from appliance.placement.layout import Layout, Piece, Rule
from appliance.placement.listing import Listed, ListingError, list_objects, parse_url
from appliance.placement.ranges import simple_layout, tells_by_name
from appliance.placement.signature import Keys
from appliance.placement.where import Tally, notes, records

MIB = 2**20


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    body = json.dumps(document()).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep the test's output clean."""

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def run(*arguments: str, service: str = "", keys: str | None = None, **environment: str | None) -> Result:
    unset = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE")
    variables: dict[str, str | None] = dict.fromkeys(unset)
    variables |= {"APPLIANCE_PLACEMENT_URL": service or None, "COLUMNS": "200", **environment}
    return CliRunner().invoke(where, arguments, input=keys, env=variables)


def test_json_has_one_object_a_line_for_each_key(service: str) -> None:
    keys = ["a/0", "_hidden", "ä ö", "100%"]
    result = run("s3://alice", "--json", "--keys-from", "-", service=service, keys="\n".join(keys) + "\n")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["key"] for line in lines] == keys
    rows = [["store1", "store2"], ["store2", "store3"], ["store3", "store1"]]
    for line in lines:
        pg = ceph_reference.stable_mod(ceph_reference.str_hash_rjenkins(f"{MARKER}_{line['key']}".encode()), 3)
        assert line["pgid"] == f"7.{pg:x}"
        assert line["hosts"] == rows[pg]
    assert lines[0]["rados_name"] == f"{MARKER}_a/0"
    assert "locator" not in lines[0]
    assert lines[1]["rados_name"] == f"{MARKER}___hidden"
    assert lines[1]["locator"] == f"{MARKER}__hidden"


def test_keys_with_newlines_end_in_nul_bytes(service: str) -> None:
    result = run("s3://alice", "--json", "-0", "--keys-from", "-", service=service, keys="one\nkey\0two\0")
    assert [json.loads(line)["key"] for line in result.output.splitlines()] == ["one\nkey", "two"]


def test_the_prefix_chooses_among_the_keys(service: str) -> None:
    result = run("s3://alice/b/", "--json", "--keys-from", "-", service=service, keys="a/1\nb/1\nb/2\n")
    assert [json.loads(line)["key"] for line in result.output.splitlines()] == ["b/1", "b/2"]


def test_the_table_names_every_host(service: str) -> None:
    keys = "".join(f"c/{number}\n" for number in range(300))
    result = run("s3://alice", "--keys-from", "-", service=service, keys=keys)
    assert result.exit_code == 0, result.output
    assert "300 objects, pool data, map of epoch 42" in result.output
    for host in ("store1", "store2", "store3"):
        assert host in result.output


def test_a_picture_is_drawn(service: str, tmp_path: Path) -> None:
    target = tmp_path / "where.png"
    keys = "".join(f"c/{number}\n" for number in range(300))
    result = run("s3://alice", "--plot", str(target), "--keys-from", "-", service=service, keys=keys)
    assert result.exit_code == 0, result.output
    assert target.read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_names_the_path(service: str) -> None:
    result = run("s3://alice", "--plot", "/proc/none.png", "--keys-from", "-", service=service, keys="a\n")
    assert result.exit_code == 1
    assert "--plot /proc/none.png" in result.output


def test_an_erasure_coded_pool_names_no_hosts_and_says_why(service: str) -> None:
    result = run("s3://archive", "--json", "--keys-from", "-", service=service, keys="a\n")
    assert json.loads(result.output)["hosts"] == []
    assert json.loads(result.output)["whole"] is False
    table = run("s3://archive", "--keys-from", "-", service=service, keys="a\n")
    assert "erasure-coded" in table.output


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["s3://nobody", "--keys-from", "-"], {}, "has no bucket 'nobody'; it has: alice, archive, broken, lab/kept"),
        (["s3://alice/z", "--keys-from", "-"], {}, "no object's key begins with 'z' in bucket 'alice'"),
        (["alice/x"], {}, "write s3://BUCKET or s3://BUCKET/PREFIX"),
        (["http://alice/x"], {}, "write s3://BUCKET"),
        (["s3:///x"], {}, "write s3://BUCKET"),
        (["s3://alice"], {}, "AWS_ENDPOINT_URL is not set"),
        (["s3://alice"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS_SHARED_CREDENTIALS_FILE"),
        (
            ["s3://alice"],
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"},
            "AWS_ENDPOINT_URL=http://127.0.0.1:9",
        ),
        (["s3://alice", "--keys-from", "-"], {"APPLIANCE_PLACEMENT_URL": "127.0.0.1:7483"}, "APPLIANCE_PLACEMENT_URL"),
        (
            ["s3://alice", "--keys-from", "-"],
            {"APPLIANCE_PLACEMENT_URL": "http://127.0.0.1:9"},
            "the placement service at http://127.0.0.1:9 gives no map",
        ),
    ],
)
def test_an_error_names_the_thing_and_the_way_out(
    service: str, tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    nowhere = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    result = run(*arguments, keys="a\n", **{"APPLIANCE_PLACEMENT_URL": service, **nowhere, **environment})
    assert result.exit_code == 1
    assert message in result.output


def test_without_an_address_of_the_service_the_variable_is_named() -> None:
    result = run("s3://alice", "--keys-from", "-", keys="a\n")
    assert result.exit_code == 2
    assert "APPLIANCE_PLACEMENT_URL" in result.output


def nothing_larger(cluster_map: PlacementMap, bucket: str, page: Sequence[Listed]) -> list[Layout | None]:
    """Layouts of objects of one RADOS object each; nobody is asked for others."""
    return [
        simple_layout(cluster_map, bucket, entry) if tells_by_name(cluster_map, bucket, entry) else None
        for entry in page
    ]


def test_sums_are_those_of_the_single_objects() -> None:
    cluster_map = PlacementMap.from_json(document())
    page = [Listed(f"c/{number}", 1000 + number) for number in range(1000)]
    tally = Tally(cluster_map, "alice", nothing_larger)
    tally.add(page[:400])
    tally.add(page[400:])
    hosts = cluster_map.hosts("alice", [entry.key for entry in page])
    for share in tally.shares():
        first = [entry.bytes for entry, row in zip(page, hosts, strict=True) if row[0] == share.host]
        held = [entry.bytes for entry, row in zip(page, hosts, strict=True) if share.host in row]
        assert (share.primary_objects, share.primary_bytes) == (len(first), sum(first))
        assert (share.objects, share.bytes) == (len(held), sum(held))
    assert notes(tally) == []


def in_stripes(entry: Listed, pool: int = 7) -> Layout:
    """A layout of stripes of 64 MiB in a pool, without a head."""
    head = Piece(0, 0, 7, f"{MARKER}_{entry.key}", f"{MARKER}_{entry.key}")
    rule = Rule(0, 0, 0, 64 * MIB)
    return Layout(entry.etag, entry.bytes, head, 0, 0, f".{entry.key}_", MARKER, "", pool, (rule,))


def test_large_objects_are_counted_stripe_by_stripe_in_whatever_pool() -> None:
    cluster_map = PlacementMap.from_json(document())
    layouts = {"large": in_stripes(Listed("large", 200 * MIB)), "other": in_stripes(Listed("other", MIB, "x-2"), 9)}
    layouts["strange"] = in_stripes(Listed("strange", MIB, "z-2"), pool=77)
    tally = Tally(cluster_map, "alice", lambda *asked: [layouts.get(entry.key) for entry in asked[2]])
    page = [Listed("large", 200 * MIB), Listed("other", MIB, "x-2"), Listed("lost", 5 * MIB, "y-3")]
    page.append(Listed("strange", MIB, "z-2"))
    placed = tally.add(page)
    pieces = [piece for one in placed[:2] for piece, _ in one.pieces or ()]
    assert [piece.bytes for piece in pieces] == [64 * MIB] * 3 + [8 * MIB, MIB]
    for share in tally.shares():
        rows = [(piece, cluster_map.hosts_of_names(piece.pool, [piece.locator])[0]) for piece in pieces]
        assert share.bytes == sum(piece.bytes for piece, row in rows if share.host in row)
        assert share.primary_bytes == sum(piece.bytes for piece, row in rows if row[:1] == (share.host,))
    assert (tally.unknown, tally.unknown_bytes, tally.bytes) == (2, 6 * MIB, 207 * MIB)
    assert "2 objects with 6291456 bytes are not counted" in " ".join(notes(tally))
    lines = list(records(cluster_map, "alice", placed))
    assert [line["whole"] for line in lines] == [False] * 4
    assert [piece["pgid"][0] for line in lines[:2] for piece in line["pieces"]] == ["7", "7", "7", "7", "9"]
    assert lines[0]["rados_name"] == f"{MARKER}_large"
    assert lines[0]["pieces"][0]["rados_name"] == f"{MARKER}__shadow_.large_0"
    assert "pieces" not in lines[2]


def test_an_object_of_one_rados_object_is_whole() -> None:
    cluster_map = PlacementMap.from_json(document())
    placed = Tally(cluster_map, "alice", nothing_larger).add([Listed("a", 64 * MIB), Listed("_empty", 0)])
    assert [line["whole"] for line in records(cluster_map, "alice", placed)] == [True, True]


def test_keys_alone_do_not_place_objects_of_a_bucket_that_keeps_versions() -> None:
    cluster_map = PlacementMap.from_json(document())
    tally = Tally(cluster_map, "lab/kept", nothing_larger)
    placed = tally.add([Listed("a", 1), Listed("a", 1, version="v1"), Listed("a", 1, version="null")])
    assert placed[0].pieces is None
    names = [line["rados_name"] for line in records(cluster_map, "lab:kept", placed[1:])]
    assert names == ["f5a2.4137.4__:v1_a", "f5a2.4137.4_a"]


def test_groups_that_no_host_serves_are_said() -> None:
    cluster_map = PlacementMap.from_json(document())
    tally = Tally(cluster_map, "broken", nothing_larger)
    placed = tally.add([Listed(f"c/{number}", 1) for number in range(20)])
    lost = [pieces[0][1] for pieces in (one.pieces for one in placed) if pieces].count(0)
    assert 0 < lost < 20
    assert any(note.startswith(f"{lost} objects are in placement groups that no host serves") for note in notes(tally))


def test_addresses_of_objects() -> None:
    assert parse_url("s3://b") == ("b", "")
    assert parse_url("s3://b/") == ("b", "")
    assert parse_url("s3://b/x/y z%20/") == ("b", "x/y z%20/")


def test_listing_needs_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    with pytest.raises(ListingError, match="AWS_ENDPOINT_URL is not set"):
        next(list_objects("b", ""))


def test_serving_needs_its_files_and_names_the_one_that_is_missing(tmp_path: Path) -> None:
    present, missing = tmp_path / "present", tmp_path / "missing"
    present.write_text("")
    common = ["serve", "--chunk-bytes", "1", "--data-pool", "a=b"]
    for files in (("conf", "keyring", "s3-credentials"), ("keyring", "conf", "s3-credentials")):
        options = [f"--{name}={missing if name == files[0] else present}" for name in files]
        result = CliRunner().invoke(placement, [*common, *options])
        assert result.exit_code == 1
        assert f"{missing}: No such file" in result.output


def test_a_data_pool_without_its_rule_is_refused(tmp_path: Path) -> None:
    files = [f"--{name}={tmp_path}" for name in ("keyring", "s3-credentials")]
    result = CliRunner().invoke(placement, ["serve", "--chunk-bytes", "1", "--data-pool", "nonsense", *files])
    assert result.exit_code == 2
    assert "not all of the form RULE=POOL" in result.output


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of the facility, as far as its files go."""
    monkeypatch.setattr(site, "SETTINGS", tmp_path / "client.env")
    monkeypatch.setattr(site, "CREDENTIALS", tmp_path / "s3")
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3/alice").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    return tmp_path


def test_an_operator_on_a_machine_of_the_facility_sets_nothing(service: str, machine: Path) -> None:
    (machine / "client.env").write_text(
        f"# comment\nAPPLIANCE_PLACEMENT_URL={service}\nAWS_ENDPOINT_URL=http://127.0.0.1:9\n"
    )
    placed = run("s3://alice", "--json", "--keys-from", "-", keys="a\n")
    assert placed.exit_code == 0, placed.output
    listing = run("s3://alice", HOME=str(machine), AWS_EC2_METADATA_DISABLED="true")
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:9: Could not connect" in listing.output, "keys and endpoint were found"
    assert "there are no S3 keys" in run("s3://bob", HOME=str(machine), AWS_EC2_METADATA_DISABLED="true").output


def test_the_environment_comes_before_the_machines_settings(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "client.env").write_text("X=machine\nEMPTY=\n")
    assert site.setting("X") == "machine"
    assert site.setting("EMPTY") is None
    monkeypatch.setenv("X", "mine")
    assert site.setting("X") == "mine"


@pytest.mark.parametrize("bucket", ["..", ".", "../client.env", "bob", ""])
def test_no_bucket_leads_to_other_files(machine: Path, bucket: str) -> None:
    (machine / "client.env").write_text("")
    assert site.credentials_of(bucket) is None


def test_who_asks_is_the_environments_user_else_the_buckets(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert site.own_keys("alice") == Keys("a", "b")
    with pytest.raises(PlacementUnavailable, match="set AWS_SHARED_CREDENTIALS_FILE"):
        site.own_keys("bob")
    (machine / "broken").write_text("aws_secret_access_key = b")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(machine / "broken"))
    with pytest.raises(PlacementUnavailable, match="broken is no AWS credentials file") as raised:
        site.own_keys("alice")
    assert "= b" not in str(raised.value), "no line of the file is told"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "c")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d")
    assert site.own_keys("alice") == Keys("c", "d")
