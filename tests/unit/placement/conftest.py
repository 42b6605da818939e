"""A recorded cluster, and a service that reads it, for the tests of placement."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from gateway_users import Everyone
from recorded_cluster import CHUNK, DATA_POOLS, RecordedCluster
from served import Served, served

from appliance.placement.auth import machine_settings
from appliance.placement.service.app import PlacementService
from appliance.placement.service.layout_lookup import LayoutLookup, ManifestSocket
from appliance.placement.service.map_refresher import Intervals, MapRefresher


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RecordedCluster]:
    recorded = RecordedCluster(tmp_path)
    yield recorded
    recorded.close()


@pytest.fixture
def refresher(cluster: RecordedCluster, clock: Clock) -> MapRefresher:
    return MapRefresher(cluster.monitors, cluster.rgw, CHUNK, Intervals(settle=20, buckets=60, absent=3), clock)


@pytest.fixture
def running(refresher: MapRefresher, tmp_path: Path) -> Iterator[Served]:
    layouts = LayoutLookup(ManifestSocket(tmp_path / "socket"), DATA_POOLS)
    with served(PlacementService(refresher, layouts, Everyone(), stale_after=60)) as running:
        yield running


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of the facility, as far as its files go."""
    monkeypatch.setattr(machine_settings, "SETTINGS", tmp_path / "client.env")
    (tmp_path / "client.env").write_text(f"APPLIANCE_S3_CREDENTIALS={tmp_path}/s3\n")
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3/alice").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    return tmp_path
