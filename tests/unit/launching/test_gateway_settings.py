"""Settings of the gateway and of a launcher are judged as a whole before they are installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launching_examples import launcher_settings
from traitlets.config import Config

from appliance.checked_json import FaultyError, read_object
from appliance.launching import gateway_settings
from appliance.launching import launcher_settings as launcher_settings_module
from appliance.launching.gateway_config import configure
from appliance.launching.gateway_settings import GatewaySettings
from appliance.launching.launcher_settings import LauncherSettings

GATEWAY: dict[str, Any] = {
    "hosts": {"store1": "10.77.0.21"},
    "ssh_port": 2222,
    "environments": ["/opt/appliance/analysis"],
    "hub_api_url": "http://127.0.0.1:8081/hub/api",
    "server_port": 8002,
    "http_port": 8003,
    "scheduler_port": 8786,
    "url": "https://head1:8003",
    "worker_memory_gib": 2,
    "worker_memory_gib_max": 8.0,
    "worker_cores": 1,
    "worker_cores_max": 2,
    "scheduler_memory_gib": 0.5,
    "workers_max": 64,
    "researcher_clusters_max": 4,
    "researcher_workers_max": 128,
    "researcher_cores_max": 256,
    "researcher_memory_gib_max": 512,
    "idle_timeout": 0,
    "heartbeat_period": 5,
}


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("hosts", {}, "address of each storage host"),
        ("hosts", {"store1": 7}, "address of each storage host"),
        ("hosts", ["store1"], "address of each storage host"),
        ("environments", [], "list of paths"),
        ("environments", ["analysis"], "list of paths"),
        ("hub_api_url", "127.0.0.1", "give an address"),
        ("server_port", True, "give a port"),
        ("worker_memory_gib", 0, "above 0"),
        ("worker_memory_gib", "2", "above 0"),
        ("worker_cores", 1.5, "whole number"),
        ("idle_timeout", -1, "seconds"),
        ("researcher_clusters_max", 0, "whole number"),
        ("researcher_memory_gib_max", -1, "above 0"),
        ("worker_cores", 3, "is more than worker_cores_max = 2"),
    ],
)
def test_a_wrong_setting_of_the_gateway_is_named_with_its_value(name: str, value: object, advice: str) -> None:
    with pytest.raises(FaultyError) as caught:
        read_object(GatewaySettings, GATEWAY | {name: value})
    (line,) = caught.value.faults
    assert line.startswith(f"{name} = {value}: " if value == 3 else f"{name} = {value!a}: ")
    assert advice in line


def test_two_listeners_of_the_gateway_on_one_port_are_refused() -> None:
    with pytest.raises(FaultyError, match="two of them are the same"):
        read_object(GatewaySettings, GATEWAY | {"http_port": 8002})


def test_the_gateway_is_configured_by_its_settings(tmp_path: Path) -> None:
    config = Config()
    configure(config, read_object(GatewaySettings, GATEWAY), tmp_path, tmp_path, tmp_path)
    assert "jupyterhub_api_token" not in config.JupyterHubAuthenticator, "it asks with the token of whoever asks it"
    assert config.SystemdClusterConfig.scheduler_memory == 2**29
    assert config.SystemdBackend.hosts == GATEWAY["hosts"]
    assert "Port=2222" in config.SystemdBackend.ssh_command
    assert config.SystemdBackend.api_url == "https://head1:8003/services/dask-gateway/api"
    assert config.Proxy.prefix == "/services/dask-gateway"
    key = config.SystemdBackend.db_encrypt_keys
    configure(config, read_object(GatewaySettings, GATEWAY), tmp_path, tmp_path, tmp_path)
    assert config.SystemdBackend.db_encrypt_keys == key, "a new key would lose the clusters"


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"users": "nobody"}, "users = 'nobody': give a list of accounts' names"),
        ({"users": [7]}, "users"),
        ({"uid_min": "2000"}, "uid_min = '2000': give a whole number"),
        ({"memory_max": 0}, "memory_max = 0"),
        ({"s3_keys": "etc"}, "s3_keys = 'etc': give a path"),
        ({"limits": {}}, "'limits': there is no such field"),
    ],
)
def test_a_wrong_setting_of_a_launcher_is_named(tmp_path: Path, change: dict[str, Any], advice: str) -> None:
    with pytest.raises(FaultyError, match=advice):
        read_object(LauncherSettings, launcher_settings(tmp_path, **change))


def test_a_site_without_researchers_is_no_fault(tmp_path: Path) -> None:
    assert read_object(LauncherSettings, launcher_settings(tmp_path, users=[])).users == ()


@pytest.mark.parametrize("main", [gateway_settings.main, launcher_settings_module.main])
def test_a_file_is_checked_before_it_is_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], int]
) -> None:
    good = GATEWAY if main is gateway_settings.main else launcher_settings(tmp_path)
    path = tmp_path / "settings.json"
    for values, status in ((good, 0), ({**good, "colour": "blue"}, 1), ([], 1)):
        path.write_text(json.dumps(values))
        assert main([str(path)]) == status
    assert main([str(tmp_path / "missing")]) == 1
    said = capsys.readouterr().err
    assert "'colour': there is no such field" in said
    assert "no JSON object but list" in said
    assert "missing: cannot be read" in said
