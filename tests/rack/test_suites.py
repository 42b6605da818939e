"""The suites of fsspec and zarr for filesystems and stores, in a researcher's Python against a real gateway.

The files are those of the unit tests, and so is pytest: the environment has none.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_packed
from researcher import Notebook, prepared_notebook

from appliance.demo.facility import Facility

SUITES = Path(__file__).parents[1] / "unit/compute"
NAMES = ("test_fsspec_suites.py", "test_zarr_suites.py")
HOME = "/home/alice/suites"


def packed() -> bytes:
    """The suites, and pytest of this environment."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in NAMES:
            archive.add(SUITES / name, name)
        pytest_packed.add(archive)
    return whole.getvalue()


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with the suites in her home."""
    facility.run("head1", "install", "-d", "-o", "alice", HOME)
    facility.run("head1", "tar", "-x", "-C", HOME, "--no-same-owner", given=packed())
    try:
        with prepared_notebook(facility, "alice", "import os, subprocess, sys; say()", "say()") as notebook:
            yield notebook
    finally:
        facility.run("head1", "rm", "-r", HOME)


@pytest.mark.parametrize("whose", ["TestOurs", pytest.param("TestS3fs", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", NAMES)
def test_the_suite_passes_for_ours_and_for_s3fs(notebook: Notebook, name: str, whose: str) -> None:
    said = notebook.run(f"""
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--tb=short", "-c", "/dev/null", "-p", "no:cacheprovider",
             "{name}", "-k", "{whose}"],
            cwd="{HOME}", env=dict(os.environ, PYTHONPATH="{HOME}", SUITES_BUCKET="alice"),
            capture_output=True, text=True, timeout=280,
        )
        say(status=ended.returncode, printed=ended.stdout[-6000:] + ended.stderr[-2000:])
    """)
    assert said["status"] == 0, said["printed"]
