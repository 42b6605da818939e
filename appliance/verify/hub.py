"""JupyterHub as a browser sees it: log in with a password, get a short-lived token, give it back."""

from __future__ import annotations

import http.cookiejar
import json
import urllib.parse
import urllib.request

from appliance.hub_front import Front

TIMEOUT_SECONDS = 30


class HubSession:
    """A log-in of one researcher, by the front that browsers use.

    Methods raise `OSError` where the hub does not answer or refuses.
    """

    def __init__(self, front: Front, user: str) -> None:
        self._url = front.url + "/hub"
        self._user = user
        self._cookies = http.cookiejar.CookieJar()
        self._opener = front.opener(urllib.request.HTTPCookieProcessor(self._cookies))

    def health(self) -> None:
        """Ask whether the hub is up."""
        self._open("/health")

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
