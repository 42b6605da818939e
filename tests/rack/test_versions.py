"""Versions of Icechunk repositories on a real gateway: conditional PUTs, writers at once, cut connections, collecting.

What is proven of the gateway here is what Icechunk's commits rest on (decision 46).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from researcher import Notebook, prepared_notebook

from appliance.demo.facility import Facility

PREPARED = """
    import json, subprocess, sys, threading
    from datetime import timedelta
    from pathlib import Path
    import boto3, botocore.config, botocore.exceptions, fsspec, icechunk, numpy as np, zarr
    from appliance.data import branch, collect, history, repository, tag

    fs = fsspec.filesystem("s3")
    URL = "s3://alice/versions-test"
    def clean():
        for path in fs.glob("alice/versions-test*"):
            fs.rm(path, recursive=True)
    clean()
    # Asked once: what the client tried again would be told of its own first try.
    once = botocore.config.Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
    client = boto3.client("s3", config=once)
    where = dict(Bucket="alice", Key="versions-test-object")

    def status(call, **arguments):
        try:
            return call(**where, **arguments)["ResponseMetadata"]["HTTPStatusCode"]
        except botocore.exceptions.ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]

    def at_once(number, call):
        start, told = threading.Barrier(number), {}
        def one(each):
            start.wait()
            told[each] = call(each)
        threads = [threading.Thread(target=one, args=[each]) for each in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return told

    def put_in_parts(content, **condition):
        upload = client.create_multipart_upload(**where)["UploadId"]
        part = client.upload_part(**where, UploadId=upload, PartNumber=1, Body=content)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        ended = status(client.complete_multipart_upload, UploadId=upload, MultipartUpload=parts, **condition)
        if ended != 200:
            client.abort_multipart_upload(**where, UploadId=upload)
        return ended

    def body():
        return client.get_object(**where)["Body"].read().decode()
    say()
"""
STRESS = Path(__file__).parent / "commit_stress.py"
LOST = {409, 412}  # what a gateway says to all but one of those who come at once


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    with prepared_notebook(facility, "alice", PREPARED, "clean(); say()", seconds=1200) as notebook:
        yield notebook


def test_the_gateway_keeps_the_conditions_of_a_put(notebook: Notebook) -> None:
    said = notebook.run("""
        client.delete_object(**where)
        missing = status(client.put_object, Body=b"0", IfMatch='"0123456789abcdef0123456789abcdef"')
        made = status(client.put_object, Body=b"1", IfNoneMatch="*")
        taken = status(client.put_object, Body=b"2", IfNoneMatch="*")
        etag = client.head_object(**where)["ETag"]
        other = status(client.put_object, Body=b"3", IfMatch='"0123456789abcdef0123456789abcdef"')
        content = body()
        right = status(client.put_object, Body=b"4", IfMatch=etag)
        late = status(client.put_object, Body=b"5", IfMatch=etag)
        say(missing=missing, made=made, taken=taken, other=other, content=content, right=right, late=late, last=body())
    """)
    assert said["missing"] in (404, 412)
    assert (said["made"], said["taken"], said["other"], said["content"]) == (200, 412, 412, "1")
    assert (said["right"], said["late"], said["last"]) == (200, 412, "4")


@pytest.mark.parametrize("condition", ["IfNoneMatch", "IfMatch"])
def test_of_conditional_puts_at_once_exactly_one_is_done(notebook: Notebook, condition: str) -> None:
    """Through the balancer, so by several gateways."""
    said = notebook.run(f"""
        rounds = []
        for number in range(10):
            client.delete_object(**where)
            condition = dict(IfNoneMatch="*")
            if "{condition}" == "IfMatch":
                client.put_object(**where, Body=b"first")
                condition = dict(IfMatch=client.head_object(**where)["ETag"])
            told = at_once(16, lambda each: status(client.put_object, Body=str(each).encode(), **condition))
            won = [str(each) for each, answer in told.items() if answer == 200]
            rounds.append(dict(won=won, there=body(), answers=sorted(set(told.values()))))
        say(rounds=rounds)
    """)
    for each in said["rounds"]:
        assert each["won"] == [each["there"]], each
        assert set(each["answers"]) <= {200, *LOST}, each


def test_the_gateway_keeps_the_conditions_of_an_upload_in_parts(notebook: Notebook) -> None:
    """Nothing of ours rests on it: what is written under a condition goes in one PUT."""
    said = notebook.run("""
        client.delete_object(**where)
        made, taken = put_in_parts(b"1", IfNoneMatch="*"), put_in_parts(b"2", IfNoneMatch="*")
        etag, content = client.head_object(**where)["ETag"], body()
        other = put_in_parts(b"3", IfMatch='"0123456789abcdef0123456789abcdef-1"')
        right = put_in_parts(b"4", IfMatch=etag)
        say(made=made, taken=taken, content=content, other=other, right=right, last=body())
    """)
    assert said == {"made": 200, "taken": 412, "content": "1", "other": 412, "right": 200, "last": "4"}


def test_of_two_commits_at_once_exactly_one_wins_and_the_other_is_told(notebook: Notebook) -> None:
    """With plain Icechunk, to which nothing but bucket and name is given."""
    said = notebook.run("""
        there = icechunk.Repository.create(icechunk.s3_storage(bucket="alice", prefix="versions-test"))
        with there.transaction("main", message="an array") as store:
            zarr.create_group(store).create_array("t", data=np.zeros(1000), chunks=(1000,))

        def commit(each):
            session = sessions[each]
            try:
                return session.commit(f"writer {each}")
            except icechunk.ConflictError:
                return "told"

        rounds = []
        for number in range(10):
            before = [each.snapshot for each in history(URL)]
            sessions = [repository(URL).writable_session("main") for _ in range(2)]
            for each, session in enumerate(sessions):
                zarr.open_array(session.store, path="t")[:] = np.random.default_rng(2 * number + each).normal(size=1000)
            told = at_once(2, commit)
            (won,) = (each for each, answer in told.items() if answer != "told")
            grown = [each.snapshot for each in history(URL)] == [told[won], *before]
            values = zarr.open_array(repository(URL).readonly_session("main").store, path="t", mode="r")[:]
            right = np.array_equal(values, np.random.default_rng(2 * number + won).normal(size=1000))
            rounds.append([sorted(told.values()).count("told"), grown, bool(right)])
        say(rounds=rounds)
    """)
    assert said["rounds"] == [[1, True, True]] * 10


def test_what_would_be_collected_is_what_goes_and_branches_and_tags_stay(notebook: Notebook) -> None:
    said = notebook.run("""
        commits = history(URL)
        tag(URL, "third", commits[2].snapshot)
        branch(URL, "fifth", commits[4].snapshot)

        def contents():
            there = repository(URL)
            stores = [there.readonly_session(**each).store for each in (
                dict(branch="main"), dict(branch="fifth"), dict(tag="third"))]
            return [zarr.open_array(store, path="t", mode="r")[:].tobytes() for store in stores]

        def size():
            return sum(info["size"] for info in fs.find("alice/versions-test", detail=True).values())

        fs.invalidate_cache()
        before, values = size(), contents()
        told = collect(URL, timedelta(0), expire=True, unused=True)
        fs.invalidate_cache()
        untouched = size() == before
        done = collect(URL, timedelta(0), expire=True, unused=True, remove=True)
        fs.invalidate_cache()
        say(told=told[:3], done=done[:3], untouched=untouched, less=before - size(), same=contents() == values,
            left=len(history(URL)), again=collect(URL, timedelta(0), unused=True).bytes)
    """)
    assert said["untouched"]
    assert said["same"]
    assert said["told"] == said["done"]
    snapshots, nbytes, _ = said["told"]
    assert snapshots >= 8  # of ten commits and the array's, all but three; and those of writers who were told
    assert said["less"] == pytest.approx(nbytes, abs=300)  # shortened snapshots are written anew
    assert (said["left"], said["again"]) == (2, 0)


def stressed(notebook: Notebook, commits: int, writers: int) -> dict[str, Any]:
    return notebook.run(f"""
        program = Path.home() / "commit_stress.py"
        program.write_text({STRESS.read_text()!r})
        try:
            ended = subprocess.run(
                [sys.executable, program, "s3://alice/versions-test-stress", "--commits", "{commits}",
                 "--writers", "{writers}"], capture_output=True, text=True)
        finally:
            program.unlink()
        if ended.returncode:
            raise RuntimeError(ended.stderr[-3000:])
        say(**json.loads(ended.stdout))
    """)


def test_with_connections_cut_each_acknowledged_commit_is_in_the_history_once(notebook: Notebook) -> None:
    made = stressed(notebook, 60, 4)
    assert made["right"], made
    assert made["acknowledged"] == made["in_history"] == 60
    assert (made["lost"], made["twice"], made["wrong_values"], made["linear"]) == (0, 0, 0, True)
    assert made["cut"] > 0, made


@pytest.mark.long
def test_a_thousand_commits_of_eight_writers(facility: Facility) -> None:
    """`tests/bench/commits.py` is the same with a table."""
    with prepared_notebook(facility, "alice", PREPARED, "clean(); say()", seconds=3600) as notebook:
        made = stressed(notebook, 1000, 8)
    assert made["right"], made
    assert made["acknowledged"] == made["in_history"] == 1000
    assert made["cut_answers"] > 0, made
