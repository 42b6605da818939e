"""Log-in by the machine's passwords, and what all ways to log in share: few tries, and researchers only."""

from __future__ import annotations

import datetime
import grp
import os
import subprocess
from typing import Any

from jupyterhub.auth import Authenticator, PAMAuthenticator
from tornado.web import HTTPError
from traitlets import Instance, Int, Unicode

from appliance.hub.log_in_tries import LogInTries, TriesAllowed
from appliance.researcher.account import NotAResearcherError, researcher_account

_EXPIRES = 7  # the field of /etc/shadow that says on which day an account ends (shadow(5))


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
        """
        name, address = self.normalize_username(data["username"]), handler.request.remote_ip
        if wait := self._tries.begin(name, address):
            self.log.warning("Too many tries to log in (%.32r@%s): refused for %d s", name, address, wait)
            raise TooManyTriesError(wait)
        found = await super().authenticate(handler, data)
        if found:
            self._tries.succeeded(name, address)
        return found


class ResearchersOnly(Authenticator):  # type: ignore[misc]
    """Lets in whom the machine knows as a researcher today; before an authenticator that only says who somebody is."""

    researchers_group: str = Unicode().tag(config=True)
    uid_min: int = Int().tag(config=True)
    uid_max: int = Int().tag(config=True)

    async def check_allowed(self, username: str, authentication: Any = None) -> bool:  # noqa: ARG002 - its signature
        """Whether the account is a researcher's, and open: role `accounts` closes those of the locked."""
        try:
            account = researcher_account(username, self.uid_min, self.uid_max)
        except NotAResearcherError:
            return False
        group = grp.getgrnam(self.researchers_group).gr_gid
        return group in os.getgrouplist(username, account.pw_gid) and not _has_expired(username)


class FacilityAuthenticator(LimitedTries, PAMAuthenticator):  # type: ignore[misc]  # not on the control host
    """The machine's passwords."""


def _has_expired(name: str) -> bool:
    shadow = subprocess.run(["getent", "shadow", name], capture_output=True, text=True, check=True).stdout
    day = shadow.strip().split(":")[_EXPIRES]
    today = (datetime.datetime.now(datetime.UTC).date() - datetime.date(1970, 1, 1)).days
    return bool(day) and int(day) <= today


def _minutes(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
