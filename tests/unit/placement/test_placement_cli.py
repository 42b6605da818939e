"""``appliance where`` with a map from a loopback service, and ``appliance placement``."""

import json
from collections.abc import Iterator
from pathlib import Path

import ceph_reference
import http_serving
import pytest
from click.testing import CliRunner, Result
from example_map import MARKER, document
from http_serving import serving

from appliance.placement.cli import placement, where

MIB = 2**20


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    body = json.dumps(document()).encode()

    class Handler(http_serving.Handler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


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
        (["alice/x"], {}, "write s3://BUCKET or s3://BUCKET/NAME"),
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


SERVE = ["serve", "--chunk-bytes", "1", "--port", "1", "--s3-endpoint", "http://127.0.0.1:9"]


def test_serving_needs_its_files_and_names_the_one_that_is_missing(tmp_path: Path) -> None:
    present, missing = tmp_path / "present", tmp_path / "missing"
    present.write_text("")
    common = [*SERVE, "--data-pool", "a=b"]
    for files in (("conf", "keyring", "s3-credentials"), ("keyring", "conf", "s3-credentials")):
        options = [f"--{name}={missing if name == files[0] else present}" for name in files]
        result = CliRunner().invoke(placement, [*common, *options])
        assert result.exit_code == 1
        assert f"{missing}: No such file" in result.output


def test_a_data_pool_without_its_rule_is_refused(tmp_path: Path) -> None:
    files = [f"--{name}={tmp_path}" for name in ("keyring", "s3-credentials")]
    result = CliRunner().invoke(placement, [*SERVE, "--data-pool", "nonsense", *files])
    assert result.exit_code == 2
    assert "not all of the form RULE=POOL" in result.output


def test_an_operator_on_a_machine_of_the_facility_sets_nothing(service: str, machine: Path) -> None:
    with (machine / "client.env").open("a") as settings:
        settings.write(f"# comment\nAPPLIANCE_PLACEMENT_URL={service}\nAWS_ENDPOINT_URL=http://127.0.0.1:9\n")
    placed = run("s3://alice", "--json", "--keys-from", "-", keys="a\n")
    assert placed.exit_code == 0, placed.output
    listing = run("s3://alice", HOME=str(machine), AWS_EC2_METADATA_DISABLED="true")
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:9: Could not connect" in listing.output, "keys and endpoint were found"
    assert "there are no S3 keys" in run("s3://bob", HOME=str(machine), AWS_EC2_METADATA_DISABLED="true").output
