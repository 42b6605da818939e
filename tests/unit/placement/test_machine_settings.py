"""What commands on a machine of the facility find without being told."""

from pathlib import Path

import pytest

from appliance.placement import PlacementUnavailable
from appliance.placement.auth import machine_settings
from appliance.placement.auth.sigv4 import Keys


def test_the_environment_comes_before_the_machines_settings(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "client.env").write_text("X=machine\nEMPTY=\n")
    assert machine_settings.setting("X") == "machine"
    assert machine_settings.setting("EMPTY") is None
    monkeypatch.setenv("X", "mine")
    assert machine_settings.setting("X") == "mine"


@pytest.mark.parametrize("bucket", ["..", ".", "../client.env", "bob", ""])
def test_no_bucket_leads_to_other_files(machine: Path, bucket: str) -> None:
    assert machine_settings.credentials_of("alice") == machine / "s3/alice"
    assert machine_settings.credentials_of(bucket) is None


def test_settings_without_the_directory_of_keys_lead_nowhere(machine: Path) -> None:
    (machine / "client.env").write_text("")
    assert machine_settings.credentials_of("alice") is None


def test_who_asks_is_the_environments_user_else_the_buckets(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    assert machine_settings.own_keys("alice") == Keys("a", "b")
    with pytest.raises(PlacementUnavailable, match="set AWS_SHARED_CREDENTIALS_FILE"):
        machine_settings.own_keys("bob")
    (machine / "broken").write_text("aws_secret_access_key = b")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(machine / "broken"))
    with pytest.raises(PlacementUnavailable, match="broken is no AWS credentials file") as raised:
        machine_settings.own_keys("alice")
    assert "= b" not in str(raised.value), "no line of the file is told"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "c")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d")
    assert machine_settings.own_keys("alice") == Keys("c", "d")
