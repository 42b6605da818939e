"""What a researcher sees of scratch: what goes, and when, in a notebook, by a command and as a terminal begins."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import xarray as xr
from click.testing import CliRunner
from s3_endpoint import S3Endpoint

from appliance.data import DataError, catalogue, publish, record, scratch
from appliance.data.cli import data
from appliance.data.scratch_buckets.rule import DAY, NOTICES, OWN_BUCKET, Notice, Thing, day_of

BUCKET = "alice-scratch"
Told = Callable[[Notice], None]


@pytest.fixture
def told(endpoint: S3Endpoint) -> Told:
    """``told(notice)`` is what the facility's job has left for the owner of the bucket."""
    (endpoint.folder / BUCKET).mkdir()
    endpoint.owners |= {BUCKET: "alice"}

    def put(notice: Notice) -> None:
        file = endpoint.folder / OWN_BUCKET / NOTICES / f"{BUCKET}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(notice.document())

    return put


def put(endpoint: S3Endpoint, name: str, age: float) -> float:
    """Write an object of this many days; returns when it was written."""
    file = endpoint.folder / BUCKET / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * 2**20)
    written = float(int(time.time() - age * DAY))
    os.utime(file, (written, written))
    return written


def said(*words: str) -> str:
    done = CliRunner().invoke(data, ["scratch", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_is_there_is_listed_with_the_day_on_which_it_goes(endpoint: S3Endpoint, told: Told) -> None:
    now = time.time()
    old = put(endpoint, "old.zarr/t/c/0", 29)
    new = put(endpoint, "new.nc", 1)
    told(Notice(30, now, (Thing("old.zarr/", 5, 1, old, told=old + 23 * DAY),)))
    (found,) = scratch()
    assert {found.address(one): day_of(found.goes(one)) for one in found.things} == {
        "s3://alice-scratch/old.zarr": day_of(old + 30 * DAY),
        "s3://alice-scratch/new.nc": day_of(new + 30 * DAY),
    }
    assert [one.name for one in found.near] == ["old.zarr/"]
    for shown in (said(), str(found), found._repr_html_()):
        assert day_of(old + 30 * DAY) in shown
        assert "for 30 days goes as a whole" in shown
        assert "s3://alice-scratch/old.zarr  (within 7 days)" in shown
        assert "s3://alice-scratch/new.nc  (within" not in shown
    listed = json.loads(said("--json"))
    assert [(one["address"], one["bytes"], one["objects"]) for one in listed["things"]] == [
        ("s3://alice-scratch/old.zarr", 2**20, 1),
        ("s3://alice-scratch/new.nc", 2**20, 1),
    ]


def test_what_is_not_told_yet_goes_no_sooner_than_in_a_week(endpoint: S3Endpoint, told: Told) -> None:
    put(endpoint, "old", 1000)
    told(Notice(30, time.time()))
    (found,) = scratch()
    assert found.goes(found.things[0]) >= time.time() + 7 * DAY - 60


def test_a_terminal_begins_with_one_line_and_one_request_for_it(endpoint: S3Endpoint, told: Told) -> None:
    now = time.time()
    one = Thing("old.zarr/", 5, 1, now - 29 * DAY, told=now - 6 * DAY)
    told(Notice(30, now, (one, Thing("new", 5, 1, now))))
    assert said("--notice") == (
        f"Scratch: s3://alice-scratch/old.zarr goes within 7 days (on {day_of(now + DAY)} UTC). "
        "`appliance data scratch` lists them.\n"
    )
    assert not [path for _, _, path, query in endpoint.log if path.startswith(f"/{BUCKET}") and "list-type" in query]
    told(Notice(30, now, (one, replace(one, name="other", newest=now - 28 * DAY))))
    assert said("--notice").startswith(
        "Scratch: 2 datasets or files go within 7 days, s3://alice-scratch/old.zarr first"
    )
    told(Notice(30, now, (Thing("new", 5, 1, now),)))
    assert said("--notice") == ""


def test_a_job_that_looks_no_more_is_told_and_nothing_is_said_to_go(endpoint: S3Endpoint, told: Told) -> None:
    put(endpoint, "old", 29)
    then = time.time() - 4 * DAY
    told(Notice(30, then, (Thing("old", 5, 1, then - 25 * DAY, told=then),)))
    assert said("--notice") == ""
    assert f"has not looked since {day_of(then)} UTC. Nothing goes until it does" in said()


@pytest.mark.usefixtures("told")
def test_where_there_is_no_scratch_that_is_said(endpoint: S3Endpoint) -> None:
    put(endpoint, "a", 1000)
    assert scratch() == []
    assert "There is no scratch" in said()
    assert said("--notice") == ""


@pytest.mark.usefixtures("told")
def test_what_expires_is_not_published_and_leaves_the_catalogue(endpoint: S3Endpoint) -> None:
    for name in ("a", "b"):
        xr.Dataset({"t": ("x", [1, 2])}).to_zarr(f"s3://{BUCKET}/{name}.zarr", zarr_format=2)
        record(f"s3://{BUCKET}/{name}.zarr", preview=False)
    with pytest.raises(DataError, match="is in scratch, and expires: publish a copy of it in a bucket that does not"):
        publish(f"s3://{BUCKET}/a.zarr", licence="CC-BY-4.0", citation="Alice")
    for file in (endpoint.folder / BUCKET / "a.zarr").rglob("*"):
        if file.is_file():
            file.unlink()
    assert [one.address for one in catalogue()] == [f"s3://{BUCKET}/b.zarr"]
