"""What holds for every unit test: nothing is left behind, and S3 is a folder behind a server of this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import leavings
import pytest
from hypothesis import settings
from s3_endpoint import SECRET, S3Endpoint


def pytest_configure(config: pytest.Config) -> None:
    """Take what warns that it was not closed for a failure of the test at whose end it is collected.

    No example of hypothesis fails for the time that it took, which depends on what else the machine does.
    """
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
    for warning in (
        "ResourceWarning",
        "pytest.PytestUnraisableExceptionWarning",
        "pytest.PytestUnhandledThreadExceptionWarning",
    ):
        config.addinivalue_line("filterwarnings", f"error::{warning}")


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_by_all() -> Iterator[None]:
    with leavings.none_of_the_session():
        yield


@pytest.fixture(scope="module", autouse=True)
def _what_stays_is_frozen(_nothing_is_left_by_all: None) -> Iterator[None]:
    """Take what outlives a module (imports, caches) out of later collections, which then take milliseconds."""
    yield
    leavings.freeze()


@pytest.fixture(autouse=True)
def _nothing_is_left(_what_stays_is_frozen: None) -> Iterator[None]:
    """Fail a test that leaves threads, processes, servers, variables or unclosed objects to the tests after it."""
    with leavings.none():
        yield


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Endpoint]:
    """One server for all modules, since s3fs takes a second to make a client for another."""
    with S3Endpoint(tmp_path_factory.mktemp("s3")) as served:
        yield served


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of S3 keys."""
    file = tmp_path_factory.mktemp("keys") / "credentials"
    file.write_text(f"[default]\naws_access_key_id = canary-key\naws_secret_access_key = {SECRET}\n")
    return file


@pytest.fixture(scope="module")
def endpoint(s3_server: S3Endpoint, credentials: Path) -> Iterator[S3Endpoint]:
    """The S3 endpoint, empty, which this process reaches as 127.0.0.1, a host that holds nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3_server.url("127.0.0.1"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        patch.setenv("AWS_DEFAULT_REGION", "default")
        patch.setenv("APPLIANCE_HOST", "host1")
        s3_server.empty()
        yield s3_server
