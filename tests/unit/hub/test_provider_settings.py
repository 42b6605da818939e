"""What a site says about a provider is judged before a hub is started with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from appliance.hub.provider_settings import main
from appliance.inventory_secrets import authority

LDAP = {
    "server": "directory.example.org",
    "port": 636,
    "tls": "on_connect",
    "user_dn": "uid={username},dc=example,dc=org",
    "group_filter": "(|(member={userdn})(memberUid={uid}))",
    "groups": {"cn=ocean": "ocean"},
    "authority": "",
}


def judged(monkeypatch: pytest.MonkeyPatch, kind: str, path: Path, text: str) -> int:
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["provider_settings", kind, str(path)])
    return main()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"user_dn": "uid={username},ou={ou}"}, "user_dn"),
        ({"user_dn": "uid={username},ou={"}, "user_dn"),
        ({"group_filter": "(member={userdn})(ou={ou})"}, "group_filter"),
    ],
)
def test_a_text_that_a_log_in_cannot_fill_in_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str],
    told: str,
) -> None:
    assert judged(monkeypatch, "ldap", tmp_path / "file", json.dumps(LDAP | changed)) == bool(told)
    assert capsys.readouterr().err.partition(" ")[0] == told


def test_certificates_or_nothing_are_authorities_and_the_rest_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, certificate = authority()
    found = [
        judged(monkeypatch, "authorities", tmp_path / "file", text)
        for text in ("\n", f"{certificate}\n", "/etc/ssl/site.pem\n", "-----BEGIN CERTIFICATE-----\n")
    ]
    assert found == [0, 0, 1, 1]
