"""JupyterHub as a browser sees it: log in with a password, get a short-lived token, give it back."""

from __future__ import annotations

import http.cookiejar
import json
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_SECONDS = 30


class HubSession:
    """A log-in of one researcher. ``url`` is the hub's public address, without a path.

    Methods raise `OSError` where the hub does not answer or refuses.
    """

    def __init__(self, url: str, user: str) -> None:
        self._url = url.rstrip("/") + "/hub"
        self._user = user
        self._cookies = http.cookiejar.CookieJar()
        # No proxy: the hub is on this machine, whatever the environment says of the way out.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._cookies)
        )

    def version(self) -> str:
        """Return the hub's version, which it tells everybody."""
        answer: dict[str, Any] = json.loads(self._open("/api/"))
        return str(answer["version"])

    def log_in(self, password: str) -> None:
        """Log in by the form that people use."""
        self._open("/login")
        form = {"username": self._user, "password": password, "_xsrf": self._xsrf()}
        target = f"/login?{urllib.parse.urlencode({'next': '/hub/home'})}"
        self._open(target, data=urllib.parse.urlencode(form).encode())

    def token(self, seconds: int) -> tuple[str, str]:
        """Return the id and the text of a token that ends after ``seconds``."""
        body = json.dumps({"expires_in": seconds, "note": "facility check"}).encode()
        answer = json.loads(self._open(self._tokens(), data=body, headers={"Content-Type": "application/json"}))
        return str(answer["id"]), str(answer["token"])

    def revoke(self, token_id: str) -> None:
        """End a token before its time."""
        self._open(self._tokens(f"/{token_id}"), method="DELETE")

    def log_out(self) -> None:
        """End the session."""
        self._open("/logout")

    def _tokens(self, which: str = "") -> str:
        return f"/api/users/{urllib.parse.quote(self._user)}/tokens{which}?_xsrf={urllib.parse.quote(self._xsrf())}"

    def _xsrf(self) -> str:
        values = [cookie.value for cookie in self._cookies if cookie.name == "_xsrf" and cookie.path == "/hub/"]
        return values[-1] or "" if values else ""

    def _open(
        self, path: str, data: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> bytes:
        request = urllib.request.Request(self._url + path, data=data, headers=headers or {}, method=method)  # noqa: S310
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read()
            return content
