"""Settings of a site as they should be."""

from __future__ import annotations

from typing import Any

from appliance.checked_json import read_object
from appliance.hub.settings import HubSettings

GOOD: dict[str, Any] = {
    "site_name": "rack",
    "researchers_group": "researchers",
    "uid_min": 2000,
    "uid_max": 59999,
    "public_url": "https://hub.rack.test",
    "subdomains": True,
    "proxy_port": 8000,
    "hub_port": 8081,
    "proxy_api_port": 8001,
    "memory_limit": "2G",
    "cpu_limit": 1.5,
    "tasks_limit": 4096,
    "log_in": "pam",
    "log_in_seconds": 300,
    "log_in_tries": 5,
    "log_in_tries_of_name": 30,
    "log_in_tries_from_address": 100,
    "token_days": 30,
    "temporary_limit": "1G",
    "environment_link": "/opt/appliance/analysis",
    "s3_endpoint": "http://127.0.0.1:7481",
    "s3_keys": "/etc/appliance/s3",
    "placement_url": "http://127.0.0.1:7483",
    "gateway_url": "http://127.0.0.1:8003",
    "gateway_proxy_address": "gateway://head1:8786",
}


def hub_settings(**changes: Any) -> HubSettings:
    """Return the settings with changes, checked as from a file."""
    return read_object(HubSettings, GOOD | changes)
