"""The page of reads in the Dask dashboard, over HTTP and as a bokeh document."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Div
from distributed import Scheduler

from appliance.compute import scheduler_preload
from appliance.compute.reporting import collect, dashboard
from appliance.compute.scheduling.expectations import Expectations

WORKER = SimpleNamespace(server_id="w1", host="10.0.0.1")
COUNTS = {
    "host": "store1",
    "reads": {"local": 3, "replica": 1, "elsewhere": 1},
    "bytes": {"local": 300, "replica": 100, "elsewhere": 50},
    "transfers": {"received": 7, "sent": 9, "results": 2},
}


def test_the_dashboard_has_the_page_and_its_plots_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scheduler_preload.dashboard is dashboard  # importing the preload has added them
    told: dict[str, str] = {}

    async def run() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=True, dashboard_address="127.0.0.1:0") as scheduler:
            collect.add_to(scheduler, Expectations())
            scheduler.extensions["appliance-reads"].heartbeat(WORKER, COUNTS)
            port = scheduler.http_server.port
            for path in ("appliance-reads", "individual-appliance-reads", "individual-plots.json", "status", "metrics"):
                answer = await asyncio.to_thread(lambda path=path: urlopen(f"http://127.0.0.1:{port}/{path}").read())
                told[path] = answer.decode()

    monkeypatch.setenv("NO_PROXY", "*")
    asyncio.run(run())
    assert "bk-root" in told["appliance-reads"] or "data-root-id" in told["appliance-reads"]
    assert "navbar" in told["appliance-reads"]
    assert "navbar" not in told["individual-appliance-reads"]
    # JupyterLab's Dask panel lists this, and the dashboard's own menu the other.
    assert json.loads(told["individual-plots.json"])["Individual Appliance Reads"] == dashboard.ALONE
    assert 'href="individual-appliance-reads">Appliance Reads<' in told["status"]
    assert "appliance_reads_local_share 0.8" in told["metrics"]
    assert 'appliance_remote_reads{reason="not placed"} 1.0' in told["metrics"]
    assert "appliance_wire_bytes 61.0" in told["metrics"]
    assert 'appliance_host_bytes{host="store1",what="in"} 57.0' in told["metrics"]


def _drawn(document: Document) -> dict[str, Any]:
    """What the document's bars show, by host or by reason."""
    shown: dict[str, Any] = {}
    for source in document.select({"type": ColumnDataSource}):
        data = {name: list(column) for name, column in source.data.items()}
        shown |= {row[0]: dict(zip(list(data)[1:], row[1:], strict=True)) for row in zip(*data.values(), strict=True)}
    return shown


def test_the_page_is_drawn_anew_from_heartbeats() -> None:
    scheduler = SimpleNamespace(extensions={}, handlers={})
    document = Document()
    dashboard.page(scheduler, {}, document)
    (text,) = document.select({"type": Div})
    assert "Nothing was read yet" in text.text
    expectations = Expectations()
    collect.add_to(scheduler, expectations)
    expectations.note(SimpleNamespace(hosts=("x",), restriction={"x"}, reads=1, remote_reads=0), WORKER, {"10.0.0.1"})
    scheduler.extensions["appliance-reads"].heartbeat(WORKER, COUNTS)
    scheduler.extensions["appliance-reads"].heartbeat(
        SimpleNamespace(server_id="w2"), {"host": "store2", "reads": {"local": 1}, "bytes": {"local": 5}}
    )
    (callback,) = document.session_callbacks
    callback.callback()
    assert "83.3 % of 6 reads were local" in text.text
    shown = _drawn(document)
    assert shown["store1"] == {"local": 300, "by replica": 100, "remote": 50, "in": 57, "out": 11}
    assert shown["store2"] == {"local": 5, "by replica": 0, "remote": 0, "in": 0, "out": 0}
    assert (shown["no worker"]["reads"], shown["no worker"]["text"]) == (1, "1")
    assert shown["help"]["reads"] == 0


def test_without_bokeh_the_preload_says_so_and_the_scheduler_lives() -> None:
    hidden = "import sys; sys.modules['bokeh'] = None; import appliance.compute.scheduler_preload; print('lives')"
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=True)
    assert done.stdout == "lives\n"
    assert "no page of reads" in done.stderr
