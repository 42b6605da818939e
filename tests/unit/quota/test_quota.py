"""What a researcher is shown of their limits, asked of real servers and of files as the kernel writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import http_serving
import pytest
from click.testing import CliRunner
from http_serving import serving

from appliance.quota import Limit, QuotaReport, report
from appliance.quota.cli import quota
from appliance.quota.server import Use, limit

# As a gateway of Ceph 20 answers.
USAGE = """<?xml version="1.0" encoding="UTF-8"?><Usage><Entries></Entries><Summary>
<QuotaMaxBytes>1048576</QuotaMaxBytes><QuotaMaxBuckets>100</QuotaMaxBuckets><QuotaMaxObjCount>-1</QuotaMaxObjCount><QuotaMaxBytesPerBucket>-1
</QuotaMaxBytesPerBucket><QuotaMaxObjCountPerBucket>-1</QuotaMaxObjCountPerBucket><TotalBytes>1048000</TotalBytes>
<TotalBytesRounded>1048576</TotalBytesRounded><TotalEntries>12</TotalEntries></Summary></Usage>"""
BUCKETS = """<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>alice</ID></Owner><Buckets>
<Bucket><Name>alice</Name></Bucket><Bucket><Name>more</Name></Bucket></Buckets></ListAllMyBucketsResult>"""
ALLOWANCE = {
    "used": {"clusters": 1, "workers": 3, "cores": 4, "memory": 5 * 2**30},
    "most": {"clusters": 4, "workers": 128, "cores": 256, "memory": 512 * 2**30},
}


class Facility(http_serving.Handler):
    """S3 and the gateway of Dask clusters in one; both refuse who does not say who they are."""

    def do_GET(self) -> None:
        """Answer as the path says."""
        asks = self.headers.get("Authorization", "")
        if self.path == "/services/dask-gateway/api/v1/allowance":
            right, answer = asks == "jupyterhub a-token", json.dumps(ALLOWANCE)
        else:
            right, answer = asks.startswith("AWS4-HMAC-SHA256"), USAGE if self.path == "/?usage" else BUCKETS
        self.send_response(200 if right else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The variables that a notebook has."""
    (tmp_path / "s3").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = canary\n")
    with serving(Facility) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "s3"))
        monkeypatch.setenv("DASK_GATEWAY__ADDRESS", f"http://127.0.0.1:{port}/services/dask-gateway")
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "a-token")
        yield


@pytest.mark.usefixtures("notebook")
def test_each_limit_is_shown_with_what_is_used() -> None:
    found = {one.what: one for one in report().limits}
    assert (found["bytes in S3"].used, found["bytes in S3"].most) == (1048000, 1048576)
    assert (found["objects in S3"].used, found["objects in S3"].most) == (12, None)
    assert (found["buckets"].used, found["buckets"].most) == (2, 100)
    assert (found["their workers"].used, found["their workers"].most) == (3, 128)
    assert found["their memory"].cells() == ("their memory", "5.0 GiB", "512.0 GiB", "1 %")
    assert found["home (all homes' disk)"].most
    assert all(one.way_out for one in found.values())


@pytest.mark.usefixtures("notebook")
def test_the_command_says_what_is_full_and_what_to_do() -> None:
    done = CliRunner().invoke(quota)
    assert done.exit_code == 0, done.output
    assert "bytes in S3: nearly full. Until then writes end with QuotaExceeded. Delete objects" in done.output
    assert "canary" not in done.output
    done = CliRunner().invoke(quota, ["--ways-out"])
    assert "buckets: Until then a new bucket is refused with TooManyBuckets" in done.output
    told = json.loads(CliRunner().invoke(quota, ["--json"]).output)
    assert told["unanswered"] == []
    assert {one["what"] for one in told["limits"]} >= {"bytes in S3", "Dask clusters"}


@pytest.mark.usefixtures("notebook")
def test_what_does_not_answer_is_said_and_the_rest_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of yesterday")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    done = CliRunner().invoke(quota)
    assert done.exit_code == 1
    assert "S3 did not answer: [Errno 111] Connection refused" in done.output
    assert "the gateway of Dask clusters did not answer: 403" in done.output
    assert "home" in done.output


def test_outside_of_a_notebook_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "DASK_GATEWAY__ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert all("in notebooks of the facility only" in reason for reason in report().unanswered)


def test_a_notebook_shows_texts_and_no_markup() -> None:
    full = Limit("<b>", 10, 10, "", "Delete & go on.")
    shown = QuotaReport((full,), ("a < b",))._repr_html_()
    assert "<td>&lt;b&gt;</td><td>10</td><td>10</td><td>100 %</td>" in shown
    assert "<p>&lt;b&gt;: full. Delete &amp; go on.</p><p>a &lt; b</p>" in shown


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_the_limit_that_is_reached_first_counts_in_one_hierarchy(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    own.write_text("0::/notebooks.slice/notebooks-2001.slice/jupyter-alice.service\n")
    write(root, cgroup__controllers="memory pids")
    write(root / "notebooks.slice", memory__max="1000", memory__current="400", pids__max="max", pids__current="9")
    inner = root / "notebooks.slice/notebooks-2001.slice"
    write(inner, memory__max="700", memory__current="350", pids__max="50", pids__current="8")
    write(inner / "jupyter-alice.service", memory__max="500", memory__current="10", pids__max="40", pids__current="7")
    assert limit("memory", own, root) == Use(350, 700)
    assert limit("pids", own, root) == Use(7, 40)


def test_the_limit_is_found_where_each_controller_has_its_own_hierarchy_and_the_path_begins_outside(
    tmp_path: Path,
) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    own.write_text("5:pids:/rack/head1/a.slice\n4:memory:/rack/head1/a.slice\n1:name=systemd:/rack\n0::/\n")
    write(root / "memory/a.slice", memory__limit_in_bytes=str(2**63 - 4096), memory__usage_in_bytes="5")
    write(root / "pids/a.slice", pids__max="50", pids__current="8")
    assert limit("memory", own, root) is None
    assert limit("pids", own, root) == Use(8, 50)
