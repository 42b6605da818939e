"""A site's settings are judged as a whole, and each fault names the setting, its value and the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_example import GOOD

from appliance.checked_json import FaultyError, read_object
from appliance.hub.settings import HubSettings, main


def test_good_settings_are_taken_as_they_are() -> None:
    assert vars(read_object(HubSettings, GOOD)) == GOOD


@pytest.mark.parametrize(
    ("name", "value", "way_out"),
    [
        ("proxy_port", 0, "from 1 to 65535"),
        ("proxy_port", 65536, "from 1 to 65535"),
        ("hub_port", "8081", "from 1 to 65535"),
        ("hub_port", True, "from 1 to 65535"),
        ("memory_limit", "2", "such as 2G"),
        ("memory_limit", "2GB", "such as 2G"),
        ("memory_limit", "0G", "such as 2G"),
        ("cpu_limit", 0, "above 0"),
        ("cpu_limit", "2", "above 0"),
        ("tasks_limit", 63, "at least 64"),
        ("site_name", "", "not empty"),
        ("site_name", "a\nb", "one line"),
        ("uid_min", 0, "at least 1"),
        ("researchers_group", "re searchers", "Unix group"),
        ("researchers_group", "-x", "Unix group"),
        ("placement_url", "127.0.0.1:7483", "such as http://HOST:PORT"),
        ("gateway_proxy_address", "gateway://", "such as http://HOST:PORT"),
        ("environment_link", "opt/appliance", "from the root"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_the_way_out(name: str, value: object, way_out: str) -> None:
    with pytest.raises(FaultyError) as caught:
        read_object(HubSettings, GOOD | {name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{name} = {value!a}: ")
    assert way_out in line


def test_all_faults_are_told_at_once() -> None:
    bad = GOOD | {"memory_limit": "lots", "cpu_limit": -1, "colour": "blue"}
    del bad["site_name"]
    with pytest.raises(FaultyError) as caught:
        read_object(HubSettings, bad)
    told = {line.split()[0].strip("':") for line in str(caught.value).splitlines()}
    assert told == {"site_name", "colour", "memory_limit", "cpu_limit"}


def test_two_listeners_on_one_port_are_refused() -> None:
    with pytest.raises(FaultyError, match="same port"):
        read_object(HubSettings, GOOD | {"hub_port": 8000})


def test_the_check_before_installation_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(GOOD))
    assert main([str(path)]) == 0
    path.write_text(json.dumps(GOOD | {"memory_limit": "2"}))
    assert main([str(path)]) == 1
    path.write_text("{")
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert "memory_limit = '2'" in said
    assert "this is no JSON" in said
