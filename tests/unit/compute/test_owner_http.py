"""A scheduler or worker whose HTTP server would answer everybody does not start; tests/unit/launching has the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dask_gateway_server.tls import new_keypair

PRELOAD = ["--preload", "appliance.compute.owner_http", "--dashboard-address", "127.0.0.1:0"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments, *PRELOAD],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_scheduler_without_a_certificate_does_not_start() -> None:
    done = run("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    assert done.returncode != 0
    assert "this scheduler has no certificate" in done.stderr
    assert "dashboard at" not in done.stderr


def test_a_setting_that_would_let_in_everybody_keeps_it_from_starting(tmp_path: Path) -> None:
    certificate, key = new_keypair("test")
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    files = {"CERT": str(tmp_path / "crt"), "KEY": str(tmp_path / "key")}
    settings = {f"DASK_DISTRIBUTED__COMM__TLS__SCHEDULER__{name}": file for name, file in files.items()}
    settings["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] = files["CERT"]
    settings |= {f"DASK_DISTRIBUTED__SCHEDULER__DASHBOARD__TLS__{name}": file for name, file in files.items()}
    arguments = ["--protocol", "tls", "--host", "127.0.0.1", "--port", "0"]
    done = run("distributed.cli.dask_scheduler", *arguments, **settings)
    assert done.returncode != 0
    assert "distributed.scheduler.dashboard.tls is set" in done.stderr


@pytest.mark.parametrize("gone", ["distributed.node:ServerNode.start_http_server"])
def test_where_dask_has_changed_nothing_starts(gone: str) -> None:
    program = (
        "from appliance.compute import distributed_parts as parts\n"
        f"parts.present = lambda part: part != {gone!r}\n"
        "import appliance.compute.owner_http\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no HTTP server that could be closed to others" in done.stderr
    assert gone in done.stderr
