"""Log-in by the machine's passwords, with a limit on tries."""

from __future__ import annotations

from typing import Any

from jupyterhub.auth import PAMAuthenticator
from tornado.web import HTTPError
from traitlets import Instance

from appliance.hub.log_in_tries import LogInTries, TriesAllowed


class TooManyTriesError(HTTPError):
    """A log-in that is not tried, with what its page and its header say."""

    def __init__(self, wait: int) -> None:
        super().__init__(429)
        self.jupyterhub_message = f"Too many tries to log in. Try again in {_minutes(wait)}."
        self.headers = {"Retry-After": str(wait)}


class FacilityAuthenticator(PAMAuthenticator):  # type: ignore[misc]  # its package is not on the control host
    """`PAMAuthenticator` that refuses to ask PAM after too many tries."""

    tries_allowed: TriesAllowed = Instance(TriesAllowed).tag(config=True)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._tries = LogInTries(self.tries_allowed)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the name of who has logged in, or None for a wrong password.

        Raises:
            TooManyTriesError: nothing was asked of PAM.
        """
        name, address = self.normalize_username(data["username"]), handler.request.remote_ip
        if wait := self._tries.begin(name, address):
            self.log.warning("Too many tries to log in (%.32r@%s): refused for %d s", name, address, wait)
            raise TooManyTriesError(wait)
        found: str | None = await super().authenticate(handler, data)
        if found:
            self._tries.succeeded(name, address)
        return found


def _minutes(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
