"""What the facility's check is told is checked too, and the password is never shown."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from appliance.checked_json import FaultyError, read_object
from appliance.verify.facility import Settings

GOOD: dict[str, Any] = {
    "user": "alice",
    "password": "canary",
    "uid_min": 2000,
    "uid_max": 59999,
    "hub_database": "/var/lib/jupyterhub/jupyterhub.sqlite",
    "hub_url": "https://hub.rack.test",
    "hub_authorities": "-----BEGIN CERTIFICATE-----",
    "hub_subdomains": True,
    "authority": "-----BEGIN CERTIFICATE-----",
    "listeners": {"https://store1:7443": "10.77.0.21"},
    "gateway_url": "http://127.0.0.1:8003",
    "gateway_proxy_address": "gateway://head1:8786",
    "placement_url": "http://127.0.0.1:7483",
    "s3_endpoint": "http://127.0.0.1:7481",
    "s3_keys": "/etc/appliance/s3",
    "environment": "/opt/appliance/analysis",
    "seconds": 120,
}


def test_settings_are_taken_and_the_password_is_not_shown() -> None:
    settings = read_object(Settings, GOOD)
    assert settings.password == "canary"
    assert "canary" not in repr(settings)


@pytest.mark.parametrize("password", [None, ["canary"], "canary\n"])
def test_a_wrong_password_is_named_without_its_value(password: object) -> None:
    with pytest.raises(FaultyError, match=r"^password: give") as caught:
        read_object(Settings, GOOD | {"password": password})
    assert "canary" not in str(caught.value)


def test_the_program_says_every_fault() -> None:
    given = json.dumps(GOOD | {"seconds": 0, "hub_url": "head1"})
    command = [sys.executable, "-m", "appliance.verify.facility"]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [line.partition(" ")[0] for line in done.stdout.splitlines()] == ["hub_url", "seconds"]
