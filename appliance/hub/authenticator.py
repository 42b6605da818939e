"""Log-in by the machine's passwords, and what all ways to log in share: few tries, and researchers only."""

from __future__ import annotations

from typing import Any

from jupyterhub.auth import Authenticator, PAMAuthenticator
from tornado.web import HTTPError
from traitlets import Instance, Int, Unicode

from appliance.hub.admission import is_admitted
from appliance.hub.log_in_tries import LogInTries, TriesAllowed


class NotJudgedError(HTTPError):
    """A log-in of which nobody has said whether its password is right; the message is its page's."""

    def __init__(self, message: str) -> None:
        super().__init__(503)
        self.jupyterhub_message = message


class TooManyTriesError(HTTPError):
    """A log-in that is not tried, with what its page and its header say."""

    def __init__(self, wait: int) -> None:
        super().__init__(429)
        self.jupyterhub_message = f"Too many tries to log in. Try again in {_minutes(wait)}."
        self.headers = {"Retry-After": str(wait)}


class LimitedTries(Authenticator):  # type: ignore[misc]  # its package is not on the control host
    """Refuses to ask after too many tries; before an authenticator that asks for a name and a password."""

    tries_allowed: TriesAllowed = Instance(TriesAllowed).tag(config=True)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._tries = LogInTries(self.tries_allowed)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Return who has logged in, or None for a wrong password.

        Raises:
            TooManyTriesError: nothing was asked.
            NotJudgedError: there was no answer. It says nothing of the password, and is no wrong one.
        """
        name, address = self.normalize_username(data["username"]), handler.request.remote_ip
        if wait := self._tries.begin(name, address):
            self.log.warning("Too many tries to log in (%.32r@%s): refused for %d s", name, address, wait)
            raise TooManyTriesError(wait)
        judged = True
        found = None
        try:
            found = await super().authenticate(handler, data)
        except NotJudgedError:
            judged = False
            raise
        finally:
            # Whatever else ends a try, such as a fault of ours, counts as a wrong password.
            self._tries.end(name, address, wrong=judged and not found)
        if found:
            self._tries.succeeded(name, address)
        return found


class ResearchersOnly(Authenticator):  # type: ignore[misc]
    """Lets in whom the machine knows as a researcher today; before an authenticator that only says who somebody is."""

    researchers_group: str = Unicode().tag(config=True)
    uid_min: int = Int().tag(config=True)
    uid_max: int = Int().tag(config=True)

    async def check_allowed(self, username: str, authentication: Any = None) -> bool:  # noqa: ARG002 - its signature
        """Whether the account is a researcher's, and open."""
        return is_admitted(username, self.researchers_group, self.uid_min, self.uid_max)


class FacilityAuthenticator(LimitedTries, PAMAuthenticator):  # type: ignore[misc]  # not on the control host
    """The machine's passwords."""


def _minutes(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
