"""fsspec's own suites for filesystems, for ours and beside it s3fs: ours passes where s3fs does.

Here against the S3 of the unit tests. On a rack this file runs as it is in a researcher's Python, against a real
gateway (`tests/rack/test_suites.py`): there ``SUITES_BUCKET`` names the bucket.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from fsspec.tests.abstract import AbstractFixtures
from fsspec.tests.abstract.copy import AbstractCopyTests
from fsspec.tests.abstract.get import AbstractGetTests
from fsspec.tests.abstract.open import AbstractOpenTests
from fsspec.tests.abstract.pipe import AbstractPipeTests
from fsspec.tests.abstract.put import AbstractPutTests
from s3fs import S3FileSystem

from appliance.compute.reading.filesystem import LocalS3FileSystem

BUCKET = os.environ.get("SUITES_BUCKET", "")
pytestmark = [] if BUCKET else [pytest.mark.usefixtures("endpoint")]


class Fixtures(AbstractFixtures):
    """What the suites need to know of a filesystem: a place, and that S3 has no empty directories."""

    kind: type[S3FileSystem] = LocalS3FileSystem

    @pytest.fixture(scope="class")
    @classmethod
    def fs(cls) -> Any:
        # s3fs sends checksums unless told otherwise; ours is told.
        return cls.kind(config_kwargs={"request_checksum_calculation": "when_required"})

    @pytest.fixture
    def fs_path(self, fs: Any) -> Iterator[str]:
        path = f"{BUCKET or 'alice'}/suites"
        yield path
        # RGW may list for a moment what was just deleted; to delete it once more is no error.
        for left in fs.find(path):
            fs.rm_file(left)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class Suites(AbstractCopyTests, AbstractGetTests, AbstractPutTests, AbstractOpenTests, AbstractPipeTests, Fixtures):
    """All of them; pytest collects the classes below."""

    def test_open_exclusive(self, fs: Any, fs_target: str) -> None:
        """The suite's own wants the error where a file is opened. s3fs, and so ours, raises it where it is closed."""
        fs.pipe_file(fs_target, b"data")
        with pytest.raises(FileExistsError), fs.open(fs_target, "xb") as file:
            file.write(b"other")
        assert fs.cat_file(fs_target) == b"data"


class TestOurs(Suites):
    kind = LocalS3FileSystem


class TestS3fs(Suites):
    kind = S3FileSystem
    # s3fs says no more than "invalid argument" where S3 does not name the condition that failed, as RGW does not.
    test_open_exclusive = test_pipe_exclusive = None  # type: ignore[assignment]
