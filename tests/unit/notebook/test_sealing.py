"""What a scheduler learns of a browser's request, and what a browser takes of its answer."""

from __future__ import annotations

import pytest

from appliance.notebook.sealing import SEAL, answered, asked, is_part


def test_a_scheduler_learns_no_secret_of_the_hubs() -> None:
    told = [("Accept", "text/html"), ("Cookie", "jupyterhub-user-alice=secret"), ("Authorization", "token secret")]
    told += [("X-XSRFToken", "secret"), ("Referer", "http://hub/user/alice/lab"), ("Origin", "null")]
    told += [("X-Forwarded-For", "10.0.0.1"), ("Sec-WebSocket-Key", "secret"), ("Host", "hub")]
    assert list(asked(told)) == [("Accept", "text/html")]


def test_a_scheduler_says_nothing_about_the_hubs_origin() -> None:
    told = [("Content-Type", "text/html"), ("Set-Cookie", "_xsrf=mine; Path=/"), ("Clear-Site-Data", '"*"')]
    told += [("Content-Security-Policy", "default-src *"), ("Access-Control-Allow-Origin", "*")]
    told += [("WWW-Authenticate", "Basic"), ("Service-Worker-Allowed", "/"), ("Refresh", "0; url=//elsewhere")]
    told += [
        ("Strict-Transport-Security", "max-age=0"),
        ("Link", "</x>; rel=preload"),
        ("referrer-policy", "unsafe-url"),
    ]
    assert list(answered(told)) == [("Content-Type", "text/html"), *SEAL]


def test_a_page_has_no_origin() -> None:
    policy = dict(SEAL)["Content-Security-Policy"]
    (sandbox,) = [rule for rule in policy.split("; ") if rule.startswith("sandbox")]
    assert sandbox.split() == ["sandbox", "allow-scripts", "allow-downloads"]
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("text/javascript", True),
        ("application/javascript; charset=utf-8", True),
        (" Text/CSS", True),
        ("image/png", True),
        ("text/html; charset=UTF-8", False),
        ("application/xhtml+xml", False),
        ("application/json", False),
        ("text/plain; version=0.0.4", False),
        ("", False),
    ],
)
def test_pages_and_figures_want_the_log_in(kind: str, part: bool) -> None:
    assert is_part(kind) is part
