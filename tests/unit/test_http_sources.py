"""What is fetched over HTTP(S) is what the site lists, wherever names and redirects lead."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from appliance import http_sources
from appliance.http_sources import FIX, HttpSources, RefusedError, beginning

LISTED = ["https://data.example.org", "http://127.0.0.1:8080/pub/", "https://[2001:db8::1]:8443/"]
SOURCES = HttpSources.parsed(LISTED, ["10.1.0.0/16"])


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://data.example.org/a b/ü.nc?x=1 2", "/a%20b/%C3%BC.nc?x=1%202"),
        ("https://DATA.example.org:443/%C3%BC.nc", "/%C3%BC.nc"),
        ("https://data.example.org", "/"),
        ("http://127.0.0.1:8080/pub/2000.nc", "/pub/2000.nc"),
        ("https://[2001:db8::1]:8443/x", "/x"),
    ],
)
def test_what_the_site_lists_is_asked_for_as_it_is_written(url: str, target: str) -> None:
    assert SOURCES.judged(url).target == target


@pytest.mark.parametrize(
    "url",
    [
        "http://data.example.org/x",
        "https://data.example.org:8443/x",
        "https://data.example.org.evil.test/x",
        "https://data.example.orgevil.test/x",
        "https://sub.data.example.org/x",
        "https://data.example.org@evil.test/x",
        "https://user:secret@data.example.org/x",
        "https://data.example.org\\@evil.test/x",
        "https://data.example.org/x#mark",
        "https://data.example.org/\r\nHost: evil.test",
        "https:///x",
        "https://dätä.example.org/x",
        "https://data.example.org:0/x",
        "https://data.example.org:99999/x",
        "http://127.0.0.1:8080/secret/x",
        "http://127.0.0.1:8080/pub/../secret",
        "http://127.0.0.1:8080/pub/%2e%2e/secret",
        "http://127.0.0.1:8080/pub/..%2fsecret",
        "http://127.0.0.1:8080/pub/..%5csecret",
        "http://127.0.0.1:8080/pub",
        "http://127.1:8080/pub/x",
        "http://2130706433:8080/pub/x",
        "http://[::ffff:127.0.0.1]:8080/pub/x",
        "http://localhost:8080/pub/x",
        "file:///etc/passwd",
        "ftp://data.example.org/x",
        "gopher://127.0.0.1:8080/pub/x",
        "//data.example.org/x",
    ],
)
def test_all_else_is_refused(url: str) -> None:
    with pytest.raises(RefusedError):
        SOURCES.judged(url)


@pytest.mark.parametrize("text", LISTED)
def test_a_beginning_ends_in_a_folder(text: str) -> None:
    assert beginning(text).target.endswith("/")


@pytest.mark.parametrize(
    "text",
    [
        "data.example.org",
        "https://",
        "https://data.example.org/file",
        "https://data.example.org/?a=/",
        "https://*.example.org/",
        "https://user@data.example.org/",
        "ftp://data.example.org/",
        "https://10.1.2/",
        "https://-data.example.org/",
    ],
)
def test_what_is_no_beginning_is_told(text: str) -> None:
    with pytest.raises(RefusedError) as raised:
        beginning(text)
    assert str(raised.value) == FIX or str(raised.value).startswith(("is not fetched", "has "))


def leading(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Names lead to these addresses; the list gets those that are looked up."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.2.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",  # noqa: S104
            "224.0.0.1",
        ),
        *("::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1"),
    ],
)
def test_a_name_that_leads_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    leading(monkeypatch, address)
    with pytest.raises(RefusedError, match=r"leads to .*, a private, loopback or reserved address"):
        SOURCES.addresses(SOURCES.judged("https://data.example.org/x"))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "10.1.2.3", "::ffff:10.1.2.3"])
def test_public_addresses_and_those_of_listed_networks_are_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    leading(monkeypatch, "192.168.1.1", address, address)
    assert SOURCES.addresses(SOURCES.judged("https://data.example.org/x")) == [address]


def test_a_listed_address_is_asked_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = leading(monkeypatch, "192.168.1.1")
    assert SOURCES.addresses(SOURCES.judged("http://127.0.0.1:8080/pub/x")) == ["127.0.0.1"]
    assert asked == []


def test_the_list_is_what_the_sites_role_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sources, "SETTINGS", tmp_path / "sources.json")
    assert HttpSources.of_this_machine() == HttpSources()
    (tmp_path / "sources.json").write_text(json.dumps({"sources": LISTED, "networks": ["10.1.0.0/16"]}))
    assert HttpSources.of_this_machine() == SOURCES
