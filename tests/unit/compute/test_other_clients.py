"""S3 with other libraries than ours, from nothing but the environment of a researcher's unit.

boto3 is botocore underneath; boto3 and pyarrow themselves are tried on a rack, where an environment has them.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType

import programs
import pytest
from s3_endpoint import S3Endpoint

from appliance.compute.reading import arrow
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


class S3FileSystem:
    """As pyarrow's, as far as it matters here."""

    def __init__(self, *, region: str = "", endpoint_override: str | None = None):
        self.given = (region, endpoint_override)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _reconstruct, self.given


def _reconstruct(region: str, endpoint: str | None) -> S3FileSystem:
    return S3FileSystem(region=region, endpoint_override=endpoint)


def test_pyarrows_constructor_goes_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pyarrow, which is tried itself on a rack."""
    module = ModuleType("pyarrow.fs")
    arrow.install(module)  # a build without S3
    module.S3FileSystem = own = S3FileSystem  # type: ignore[attr-defined]
    arrow.install(module)
    ours = module.S3FileSystem
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:7480")
    made = ours(region="default")
    assert made.given == ("default", "http://127.0.0.1:7480")
    assert ours(endpoint_override="s3.amazonaws.com").given == ("", "s3.amazonaws.com")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert ours().given == ("", None)
    again = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert (type(again), again.given) == (own, made.given)
    assert isinstance(again, ours)
    special = type("Special", (ours,), {})
    assert not isinstance(made, special)
    assert isinstance(special(), special)
    monkeypatch.setitem(sys.modules, "pyarrow", ModuleType("pyarrow"))
    monkeypatch.setitem(sys.modules, "pyarrow.fs", module)
    assert pickle.loads(pickle.dumps(ours)) is ours  # noqa: S301
