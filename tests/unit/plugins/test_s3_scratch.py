"""A scratch bucket is made with the right to remove what expires, and nobody's own bucket becomes one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils import s3_buckets
from ansible.module_utils.s3_buckets import JOB, SCRATCH, Owner, RefusedError
from test_s3_bucket import ACCESS, SECRET, Gateway, endpoint, run

from appliance.compute.reading.scratch import SUFFIX
from appliance.data.scratch_buckets.rule import OWN_BUCKET

BUCKET = "alice-scratch"
__all__ = ["endpoint"]  # the fixture


class Shown:
    """What radosgw-admin says of the bucket."""

    def __init__(self, owner: str = "alice", objects: int = 0) -> None:
        self.stats = {"owner": owner, "usage": {"rgw.main": {"num_objects": objects}} if objects else {}}

    def rgw(self, *words: str) -> Any:
        assert words == ("bucket", "stats", "--bucket", BUCKET)
        return self.stats


def ask(endpoint: str, shown: Shown | None, check: bool = False) -> tuple[bool, str]:
    cluster: Any = shown
    return Owner(run, endpoint, "alice", ACCESS, SECRET).scratch(cluster, [BUCKET] if shown else [], check)


def statement() -> dict[str, Any]:
    (found,) = json.loads(Gateway.policies[BUCKET])["Statement"]
    return dict(found)


def test_all_programs_know_one_name() -> None:
    assert (SCRATCH, JOB) == (SUFFIX, OWN_BUCKET)


def test_a_bucket_is_made_in_which_the_job_may_list_and_remove_and_not_read(endpoint: str) -> None:
    assert ask(endpoint, None, check=True) == (True, "")
    assert Gateway.made == []
    assert ask(endpoint, None) == (True, "")
    assert Gateway.made == [BUCKET]
    told = statement()
    assert told["Principal"] == {"AWS": [f"arn:aws:iam:::user/{JOB}"]}
    assert set(told["Action"]) == {
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
    }
    assert told["Resource"] == ["arn:aws:s3:::alice-scratch", "arn:aws:s3:::alice-scratch/*"]


def test_a_second_run_changes_nothing(endpoint: str) -> None:
    ask(endpoint, None)
    before = dict(Gateway.policies)
    assert ask(endpoint, Shown(objects=7)) == (False, "")
    assert Gateway.policies == before


@pytest.mark.parametrize(
    ("shown", "policy", "why"),
    [
        (Shown(objects=1), "", "alice made it, or has taken the facility's right"),
        (Shown(), '{"Statement": [{"Sid": "hers"}]}', "alice made it, or has taken the facility's right"),
        (Shown(owner="mallory"), "", "it belongs to mallory"),
    ],
)
def test_a_bucket_that_was_not_made_for_it_stays_as_it_is(endpoint: str, shown: Shown, policy: str, why: str) -> None:
    before = {BUCKET: policy} if policy else {}
    Gateway.policies.update(before)
    changed, told = ask(endpoint, shown)
    assert not changed
    assert why in told
    assert Gateway.policies == before


def test_an_empty_bucket_is_taken_as_an_interrupted_run_leaves_it(endpoint: str) -> None:
    assert ask(endpoint, Shown(), check=True) == (True, "")
    assert Gateway.policies == {}
    assert ask(endpoint, Shown()) == (True, "")
    assert statement()["Sid"] == JOB


def test_who_has_as_many_buckets_as_they_may_is_told_and_stops_nobody(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gateway, "most", 0)
    assert ask(endpoint, None) == (False, "alice has as many buckets as they may have")


def test_a_refusal_of_the_gateways_is_one(endpoint: str) -> None:
    wrong = Owner(run, endpoint, "alice", ACCESS, "another key")
    with pytest.raises(RefusedError, match="SignatureDoesNotMatch"):
        wrong.ask("GET", f"{BUCKET}?policy=")
    assert s3_buckets.QUIET
