"""A researcher's bucket is made by a request that the gateway can check, and the keys show nowhere on the way."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import http_serving
import pytest
from ansible.module_utils.ceph_cli import CephError
from ansible.module_utils.s3_buckets import Owner
from ansible.module_utils.s3_old_keys import PLACE
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from http_serving import serving

import ceph_s3_users

ACCESS, SECRET = "AKIDEXAMPLE", "sEcr/et+key"


class Gateway(http_serving.Handler):
    """Answers a request that carries the signature of the one user it knows, and else 403. Keeps buckets' policies."""

    policies: ClassVar[dict[str, str]] = {}
    made: ClassVar[list[str]] = []
    most = 9

    def do_PUT(self) -> None:
        """Make a bucket, or put its policy."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        bucket = urlsplit(self.path).path.strip("/")
        if not self._is_signed("PUT", body):
            self._answer(403, "<Code>SignatureDoesNotMatch</Code>")
        elif "policy" in self.path:
            self.policies[bucket] = body
            self._answer(204)
        elif len(self.made) >= self.most:
            self._answer(400, "<Code>TooManyBuckets</Code>")
        else:
            self.made.append(bucket)
            self._answer(200)

    def do_GET(self) -> None:
        """Show a bucket's policy."""
        found = self.policies.get(urlsplit(self.path).path.strip("/"))
        if not self._is_signed("GET"):
            self._answer(403, "<Code>SignatureDoesNotMatch</Code>")
        else:
            self._answer(404, "<Code>NoSuchBucketPolicy</Code>") if found is None else self._answer(200, found)

    def _is_signed(self, method: str, body: str = "") -> bool:
        """Sign the same request anew, with botocore, and compare. As the gateway, take no body without its digest."""
        digest = self.headers.get("x-amz-content-sha256")
        if body and digest != hashlib.sha256(body.encode()).hexdigest():
            return False
        signed = self.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        again = AWSRequest(method, f"http://{self.headers['Host']}{self.path}")
        for name in set(signed) - {"host"}:
            again.headers[name] = self.headers[name]
        again.context["timestamp"] = self.headers["X-Amz-Date"]
        signer = S3SigV4Auth(Credentials(ACCESS, SECRET), "s3", "us-east-1")
        request = signer.canonical_request(again)
        signature = signer.signature(signer.string_to_sign(again, request), again)
        return self.headers["Authorization"].endswith(signature)

    def _answer(self, status: int, text: str = "") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Gateway, "policies", {})
    monkeypatch.setattr(Gateway, "made", [])
    with serving(Gateway) as port:
        yield f"http://127.0.0.1:{port}"


def run(command: list[str], data: str) -> tuple[int, str, str]:
    """Runs a command as AnsibleModule.run_command does; no argument may hold a key."""
    assert not any(ACCESS in word or SECRET in word for word in command)
    done = subprocess.run(command, input=f"{data}\n", capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_bucket_is_made_with_its_owners_keys(endpoint: str) -> None:
    Owner(run, endpoint, "alice", ACCESS, SECRET).make_bucket("alice")
    assert Gateway.made == ["alice"]


def test_a_refusal_is_told_with_the_gateways_words(endpoint: str) -> None:
    with pytest.raises(CephError, match=r"did not make bucket alice: .*403.* <Code>SignatureDoesNotMatch</Code>"):
        Owner(run, endpoint, "alice", ACCESS, "another key").make_bucket("alice")


def test_a_gateway_that_does_not_answer_is_told() -> None:
    with pytest.raises(CephError, match="did not make bucket alice: curl: "):
        Owner(run, "http://127.0.0.1:1", "alice", ACCESS, SECRET).make_bucket("alice")


LIMITS: dict[str, Any] = {"gib_max": 2, "objects_max": 1000, "buckets_max": 10, "endpoint": "http://store1"}
QUOTA = {"enabled": True, "max_size": 2 * 2**30, "max_objects": 1000}


class Cluster:
    """What radosgw-admin says of a cluster in which alice has made a bucket that is called zoe."""

    told: ClassVar[list[tuple[str, ...]]] = []
    users: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, *_: object) -> None:
        self._owners = {"alice": "alice", "zoe": "alice"}

    def ask(self, prefix: str, key: str) -> dict[str, str]:
        """No keys end in this cluster."""
        assert (prefix, key) == ("config-key dump", PLACE)
        return {}

    def tell(self, commands: Sequence[object]) -> None:
        assert commands == []

    def rgw(self, *words: str) -> Any:
        match words:
            case ("user", "list"):
                return list(self.users)
            case ("bucket", "list"):
                return list(self._owners)
            case ("bucket", "stats", "--bucket", name):
                return {"owner": self._owners[name]}
            case ("user", "info", "--uid", name):
                return self.users[name]
        self.told.append(words)
        if words[:2] not in (("user", "create"), ("key", "create")):
            return None
        name = words[3] if words[0] == "user" else words[2].partition("=")[2]
        return {"user_id": name, "keys": [{"user": name, "access_key": ACCESS, "secret_key": SECRET}]}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> type[Cluster]:
    keys = [{"user": "alice", "access_key": ACCESS, "secret_key": SECRET}]
    alice = {"user_id": "alice", "keys": keys, "user_quota": QUOTA, "max_buckets": 10, "suspended": 0}
    monkeypatch.setattr(Cluster, "told", [])
    monkeypatch.setattr(Cluster, "users", {"alice": alice})
    monkeypatch.setattr(ceph_s3_users, "Cluster", Cluster)
    return Cluster


Answer = Callable[..., dict[str, Any]]


def test_a_bucket_that_bears_a_new_users_name_is_told_and_stops_nobody(
    answer: Answer, cluster: type[Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(Owner, "make_bucket", lambda _, bucket: made.append(bucket))
    said = answer(ceph_s3_users, users=[{"name": name} for name in ("alice", "zoe", "yves")], **LIMITS)
    assert said["taken"] == {"zoe": "alice"}
    assert made == ["yves"]
    assert sorted(said["credentials"]) == ["alice", "yves", "zoe"]
    assert SECRET in said["credentials"]["zoe"]
    # Those who are new get the limits too.
    assert ("quota", "enable", "--quota-scope=user", "--uid=zoe") in cluster.told
    assert ("user", "modify", "--uid=yves", "--max-buckets=10") in cluster.told


@pytest.mark.usefixtures("cluster")
def test_buckets_and_limits_that_are_as_they_should_be_change_nothing(answer: Answer) -> None:
    said = answer(ceph_s3_users, users=[{"name": "alice"}], **LIMITS)
    assert (said["changed"], said["taken"]) == (False, {})


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({"s3_gib_max": 4}, "quota set --quota-scope=user --uid=alice --max-size=4294967296 --max-objects=1000"),
        # Ceph would keep 1181116006 bytes as so many whole KiB, and show another number than it was told.
        ({"s3_gib_max": 1.1}, "quota set --quota-scope=user --uid=alice --max-size=1181116416 --max-objects=1000"),
        ({"s3_objects_max": 5}, "quota set --quota-scope=user --uid=alice --max-size=2147483648 --max-objects=5"),
        ({"s3_buckets_max": 3}, "user modify --uid=alice --max-buckets=3"),
    ],
)
def test_a_researcher_may_have_other_limits(
    answer: Answer, cluster: type[Cluster], user: dict[str, Any], told: str
) -> None:
    for check in (True, False):
        said = answer(ceph_s3_users, check=check, users=[{"name": "alice", **user}], **LIMITS)
        assert said["changed"]
        assert [" ".join(words) for words in cluster.told] == ([] if check else [told])


@pytest.mark.parametrize("state", ["locked", "absent"])
def test_who_is_locked_keeps_keys_that_open_nothing_and_gets_them_back(
    answer: Answer, cluster: type[Cluster], state: str
) -> None:
    said = answer(ceph_s3_users, users=[{"name": "alice", "state": state}, {"name": "new", "state": state}], **LIMITS)
    assert (said["changed"], said["credentials"]) == (True, {})
    assert cluster.told == [("user", "suspend", "--uid", "alice")]
    cluster.users["alice"]["suspended"] = 1
    assert not answer(ceph_s3_users, users=[{"name": "alice", "state": state}], **LIMITS)["changed"]
    said = answer(ceph_s3_users, users=[{"name": "alice"}], **LIMITS)
    assert cluster.told[1:] == [("user", "enable", "--uid=alice")]
    assert SECRET in said["credentials"]["alice"]


def test_who_comes_back_after_handing_over_gets_a_new_key(answer: Answer, cluster: type[Cluster]) -> None:
    cluster.users["alice"]["keys"] = []
    assert answer(ceph_s3_users, check=True, users=[{"name": "alice"}], **LIMITS)["changed"]
    assert cluster.told == []
    assert SECRET in answer(ceph_s3_users, users=[{"name": "alice"}], **LIMITS)["credentials"]["alice"]
