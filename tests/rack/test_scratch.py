"""Scratch on real gateways: told, removed whole by the job's own rights, and read as an error afterwards.

The job is told the time, so that a month passes in seconds; it is told of one bucket, so that others keep theirs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from machines import FACILITY, HEAD, STORES, ask, run_on
from placement_rack import FACTS
from researcher import Notebook, Researcher

DAY = 86_400.0
DAYS = 30
URL = "s3://alice-scratch/scratch-test.zarr"
JOB = (
    "/opt/appliance/services/bin/python -m appliance.data.scratch_buckets.expiry"
    f" --endpoint {FACTS['s3_endpoint_url']} --credentials /etc/appliance/scratch.s3 --bucket appliance-scratch"
)
CLIENT = """
import botocore.config, botocore.session
style = botocore.config.Config(s3={"addressing_style": "path"})
s3 = botocore.session.get_session().create_client("s3", region_name="us-east-1", config=style)
"""
MADE = (
    CLIENT
    + f"""
import fsspec, numpy as np, xarray as xr
from appliance.data import scratch
from appliance.data.cataloguing import kept

fs = fsspec.filesystem("s3")
def clean():
    for path in fs.ls("alice-scratch", detail=False):
        fs.rm(path, recursive=True)
clean()
values = np.arange(64, dtype="i4").reshape(8, 8)
xr.Dataset({{"t": (("y", "x"), values)}}).to_zarr("{URL}", encoding={{"t": {{"chunks": (2, 2)}}}})
fs.pipe_file("alice-scratch/scratch-test.txt", b"text")
opened = xr.open_zarr("{URL}")
upload = s3.create_multipart_upload(Bucket="alice-scratch", Key="scratch-test-upload")["UploadId"]
s3.upload_part(Bucket="alice-scratch", Key="scratch-test-upload", UploadId=upload, PartNumber=1, Body=b"part")
def seen():
    return sorted(thing.name for one in scratch() for thing in one.things)
say()
"""
)


def look(days_later: float = 0.0, bucket: str = "alice-scratch", days: int = DAYS) -> str:
    """A look of the job some days later; returns what it says that it removed."""
    return ask(HEAD, f"{JOB} --days {days} --only {bucket} --now {time.time() + days_later * DAY}")


@pytest.fixture(scope="module")
def hers() -> Iterator[Notebook]:
    with Researcher(FACILITY, "alice") as alice, alice.notebook() as notebook:
        try:
            notebook.run(MADE)
            yield notebook
        finally:
            notebook.run("clean(); say()")
            ask(HEAD, "systemctl start appliance-scratch.service", check=False)  # notices of today again


def test_the_unit_looks_and_the_owner_reads_what_it_found(hers: Notebook) -> None:
    hers.run('fs.pipe_file("alice-scratch/scratch-test-new.txt", b"text"); say()')
    ask(HEAD, "systemctl start appliance-scratch.service")
    assert "Result=success" in ask(HEAD, "systemctl show --property=Result appliance-scratch.service")
    assert ask(HEAD, "systemctl is-active appliance-scratch.timer").strip() == "active"
    said = hers.run("""
        (found,) = scratch(listed=False)
        say(bucket=found.bucket, days=found.notice.days, names=[one.name for one in found.things], near=len(found.near))
    """)
    assert (said["bucket"], said["near"]) == ("alice-scratch", 0)
    assert said["days"] == int(FACTS["scratch_days"])
    assert "scratch-test-new.txt" in said["names"]


def test_nobody_else_reads_the_notice(hers: Notebook) -> None:
    look()
    cell = """
        from appliance.data.cataloguing import kept
        say(read=kept.read("appliance-scratch", "notices/alice-scratch.json") is not None)
    """
    assert hers.run(cell)["read"]
    with Researcher(FACILITY, "bob") as bob, bob.notebook() as his:
        assert not his.run(cell)["read"]


def test_the_job_lists_and_removes_and_reads_nothing(hers: Notebook) -> None:
    """Its keys open neither what is in scratch nor a bucket that is none."""
    hers.run('fs.pipe_file("alice-scratch/scratch-test-read.txt", b"text"); say()')
    tried = (
        CLIENT
        + """
import botocore.exceptions
for name, words in (
    ("get_object", {"Bucket": "alice-scratch", "Key": "scratch-test-read.txt"}),
    ("put_object", {"Bucket": "alice-scratch", "Key": "scratch-test-read.txt", "Body": b"other"}),
    ("list_objects_v2", {"Bucket": "alice"}),
    ("delete_object", {"Bucket": "alice", "Key": "nothing"}),
):
    try:
        getattr(s3, name)(**words)
        print(name, "done")
    except botocore.exceptions.ClientError as error:
        print(name, error.response["Error"]["Code"])
"""
    )
    keys = "set -a; . /etc/appliance/client.env; AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/scratch.s3"
    said = ask(HEAD, f"{keys}; /opt/appliance/services/bin/python -", given=tried).split("\n")[:-1]
    refused = ("get_object", "put_object", "list_objects_v2", "delete_object")
    assert said == [f"{name} AccessDenied" for name in refused]


@pytest.mark.usefixtures("hers")
def test_a_locked_researchers_scratch_is_closed_to_the_job() -> None:
    try:
        ask(STORES[0], "radosgw-admin user suspend --uid bob")
        done = run_on(HEAD, f"{JOB} --days {DAYS} --only bob-scratch")
        assert done.returncode == 1, done.stdout
        assert "s3://bob-scratch is closed to this job, and nothing of it goes" in done.stderr
    finally:
        ask(STORES[0], "radosgw-admin user enable --uid bob")
    assert look(bucket="bob-scratch") == ""


def test_a_terminal_begins_with_what_goes(hers: Notebook) -> None:
    hers.run('[fs.pipe_file(f"alice-scratch/scratch-test-{one}", b"text") for one in "ab"]; say()')
    look(days=1)  # so that something goes within a week
    said = hers.run("""
        import os, pty, subprocess
        ours, theirs = pty.openpty()
        subprocess.run(["bash", "-l", "-c", "true"], stdin=subprocess.DEVNULL, stdout=theirs, timeout=120)
        os.close(theirs)
        os.set_blocking(ours, False)
        try:
            shown = os.read(ours, 65536).decode()
        except OSError:
            shown = ""
        os.close(ours)
        say(shown=shown)
    """)
    assert "datasets or files go within 7 days" in said["shown"]


def test_a_dataset_goes_whole_after_its_week_and_who_had_it_open_is_told(hers: Notebook) -> None:
    removed = "".join(look(later) for later in (23.5, 25.5, 27.5, 29.5))
    assert removed == "", "nothing before its time"
    assert {"scratch-test.zarr/", "scratch-test.txt"} <= set(hers.run("say(seen=seen())")["seen"])
    removed = look(31)
    assert f"{URL}/: removed" in removed
    assert "s3://alice-scratch/scratch-test.txt: removed" in removed
    said = hers.run("""
        try:
            values, error = opened.t.load().values.tolist(), ""
        except OSError as caught:
            values, error = None, str(caught)
        uploads = s3.list_multipart_uploads(Bucket="alice-scratch").get("Uploads", [])
        say(values=values, error=error, left=fs.find("alice-scratch"), uploads=[one["Key"] for one in uploads])
    """)
    assert said["values"] is None
    assert "has expired, or was deleted, after it was opened" in said["error"]
    assert [name for name in said["left"] if "scratch-test" in name] == []
    assert said["uploads"] == []
