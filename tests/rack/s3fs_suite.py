"""A plugin of pytest: s3fs's own tests against an S3 that is there, with s3fs's filesystem or with ours in its place.

They are read from s3fs's source package, which is on the path before the installed one, and not changed: they want to
start moto, and find that it has started. ``SUITE_FILESYSTEM`` is "s3fs" or "ours", ``SUITE_RESULTS`` a file for what
became of each test. Endpoint and keys are those of the process. All buckets of these keys are deleted between the
tests, so there must be none before.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import pytest
import s3fs
import s3fs.core
from botocore.config import Config
from botocore.session import Session

from appliance.compute.reading.filesystem import LocalS3FileSystem

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "")
MOTO = "5.1.11"  # from which on s3fs's tests expect of it what S3 does


class OursWithListings(LocalS3FileSystem):
    """Keeps listings, as s3fs does and these tests want it; ours does so where it is asked to."""

    def __init__(self, **options: Any):
        super().__init__(**{"use_listings_cache": True, **options})


class _Started:
    """moto's server, which need not be started."""

    def __init__(self, **_: Any):
        pass

    def start(self) -> None:
        """Nothing."""

    stop = start


def pytest_configure() -> None:
    """Put in place what the tests import, before they are imported."""
    found = Session().get_credentials()
    assert found is not None
    keys = found.get_frozen_credentials()
    # The tests would set keys of their own where none are in these variables.
    os.environ |= {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    names = ("moto", "moto.moto_server", "moto.moto_server.threaded_moto_server")
    made = {name: ModuleType(name) for name in names}
    made["moto"].__dict__["__version__"] = MOTO
    made[names[-1]].__dict__["ThreadedMotoServer"] = _Started
    sys.modules |= made
    kind = s3fs.core.S3FileSystem
    if os.environ["SUITE_FILESYSTEM"] == "ours":
        kind = s3fs.S3FileSystem = s3fs.core.S3FileSystem = s3fs.mapping.S3FileSystem = OursWithListings
    for protocol in ("s3", "s3a"):
        fsspec.register_implementation(protocol, kind, clobber=True)


class _Buckets:
    """The buckets of the keys."""

    def __init__(self) -> None:
        config = Config(request_checksum_calculation="when_required")
        self._client = Session().create_client("s3", endpoint_url=ENDPOINT, config=config)

    def names(self) -> list[str]:
        return [each["Name"] for each in self._client.list_buckets()["Buckets"]]

    def remove(self) -> None:
        """Delete them all, with all that is in them."""
        for name in self.names():
            # Listed anew each time: a list that goes on behind what was deleted may miss some.
            while found := self._versions(name):
                self._client.delete_objects(Bucket=name, Delete={"Objects": found, "Quiet": True})
            for each in self._client.list_multipart_uploads(Bucket=name).get("Uploads", []):
                self._client.abort_multipart_upload(Bucket=name, Key=each["Key"], UploadId=each["UploadId"])
            self._client.delete_bucket(Bucket=name)

    def _versions(self, bucket: str) -> list[dict[str, str]]:
        page = self._client.list_object_versions(Bucket=bucket)
        found = (*page.get("Versions", []), *page.get("DeleteMarkers", []))
        return [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]


class _Suite:
    """What is done between the tests, and what became of them."""

    def __init__(self) -> None:
        self.buckets = _Buckets()
        if names := self.buckets.names():
            raise pytest.UsageError(f"these keys have the buckets {names}: the tests would delete them")
        self.outcomes: dict[str, str] = {}
        self._class: Any = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test begins without buckets; those of a class share them, as their fixtures do."""
        kind = getattr(item, "cls", None)
        if kind is None or kind is not self._class:
            self.buckets.remove()
        self._class = kind

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst that happened of set-up, test and tear-down."""
        was_to_fail = hasattr(report, "wasxfail") and report.outcome == "skipped"
        outcome = "failed" if was_to_fail else report.outcome
        before = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = outcome if before == "passed" else before

    def pytest_sessionfinish(self) -> None:
        """Leave no buckets, and tell."""
        self.buckets.remove()
        Path(os.environ["SUITE_RESULTS"]).write_text(json.dumps(self.outcomes), encoding="utf-8")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Look that nothing of value is there."""
    session.config.pluginmanager.register(_Suite(), "s3fs-suite")


def pytest_collection_modifyitems() -> None:
    """Lead the tests to the S3 that is there."""
    for name, module in list(sys.modules.items()):
        if name.startswith("s3fs.tests") and hasattr(module, "endpoint_uri"):
            module.endpoint_uri = f"{ENDPOINT.rstrip('/')}/"
