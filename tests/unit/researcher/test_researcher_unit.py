"""What every unit of a researcher gets, and that no kind of unit takes some of it back."""

from __future__ import annotations

from appliance.researcher.environment import Addresses, common_environment, gateway_environment
from appliance.researcher.sandbox import SANDBOX, as_lines


def test_a_property_with_several_values_is_given_several_times() -> None:
    assert list(as_lines({"A": "1", "B": ["2", "3"], "C": ""})) == ["A=1", "B=2", "B=3", "C="]


def test_system_calls_are_allowed_first_and_then_some_are_taken_away() -> None:
    """systemd reads the lines in order: the first says whether the list allows or forbids."""
    allowed, forbidden = (line for line in as_lines(SANDBOX) if line.startswith("SystemCallFilter="))
    assert allowed == "SystemCallFilter=@system-service"
    assert forbidden.startswith("SystemCallFilter=~")


def test_no_variable_is_a_secret_and_keys_are_the_units_own() -> None:
    addresses = Addresses(s3_endpoint="http://127.0.0.1:7481", placement_url="http://127.0.0.1:7483")
    variables = common_environment("x.service", "/nix/store/x", addresses)
    assert variables["AWS_SHARED_CREDENTIALS_FILE"] == "/run/credentials/x.service/s3"
    variables |= gateway_environment("alice", "/nix/store/x", "http://127.0.0.1:8003", "gateway://head1:8786")
    assert not [name for name in variables if "KEY" in name or "TOKEN" in name or "SECRET" in name]
