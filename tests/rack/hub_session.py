"""A researcher at the hub without a browser: cookies, the hub's own API, and nothing else.

`test_passwords` sends this file to a machine: it imports the standard library and `appliance.hub_front` only.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

from appliance.hub_front import Front


class HubSession:
    """One log-in at the hub."""

    def __init__(self, front: Front, user: str) -> None:
        self.front = front
        self.user = user
        self.jar = CookieJar()
        self._opener = front.opener(urllib.request.HTTPCookieProcessor(self.jar))

    def log_in(self, password: str) -> None:
        """Log in by the hub's form; raises `urllib.error.HTTPError` (403) where that is refused."""
        self.ask("/hub/login")
        form = {"username": self.user, "password": password, "_xsrf": self._xsrf()}
        self.ask("/hub/login?next=%2Fhub%2Fhome", data=urllib.parse.urlencode(form).encode())

    def ask(self, path: str, method: str | None = None, data: bytes | None = None) -> bytes:
        """Send one request to a path of the hub, or of the researcher's own server, and return the answer's body."""
        origin = self.front.of(self.user) if path.startswith("/user/") else self.front.url
        request = urllib.request.Request(f"{origin}{path}", data=data, method=method)  # noqa: S310
        request.add_header("X-XSRFToken", self._xsrf())
        if path.startswith("/hub/api/"):
            request.add_header("Content-Type", "application/json")
        with self._opener.open(request, timeout=90) as answer:
            body: bytes = answer.read()
            return body

    def server(self) -> dict[str, Any]:
        """Return what the hub knows about the researcher's server; empty where none runs."""
        model = json.loads(self.ask(f"/hub/api/users/{self.user}"))
        found: dict[str, Any] = model["servers"].get("", {})
        return found

    def start(self) -> None:
        """Start the server and wait until it is ready; raises `RuntimeError` with the hub's words where it fails."""
        self.ask(f"/hub/api/users/{self.user}/server", data=b"{}")
        said = self.ask(f"/hub/api/users/{self.user}/server/progress").decode()
        events = [json.loads(line[5:]) for line in said.splitlines() if line.startswith("data:")]
        if not events[-1].get("ready"):
            raise RuntimeError(events[-1].get("message", said))

    def stop(self, seconds: float = 60) -> None:
        """Stop the server if one runs, and wait until it is gone."""
        if not self.server():
            return
        self.ask(f"/hub/api/users/{self.user}/server", method="DELETE")
        deadline = time.monotonic() + seconds
        while self.server():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server of {self.user} still runs after {seconds} s")
            time.sleep(0.2)

    def _xsrf(self) -> str:
        found = (cookie.value or "" for cookie in self.jar if (cookie.name, cookie.path) == ("_xsrf", "/hub/"))
        return next(found, "")
