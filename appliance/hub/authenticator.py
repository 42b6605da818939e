"""Log-in by the machine's passwords, by a directory's, or at an OpenID Connect provider."""

from __future__ import annotations

import asyncio
import datetime
import grp
import os
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jupyterhub.auth import PAMAuthenticator
from ldap3.core.exceptions import LDAPExceptionError
from ldapauthenticator import LDAPAuthenticator
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthLoginHandler
from tornado.httpclient import HTTPError as HttpClientError
from tornado.web import HTTPError
from traitlets import Dict, Instance, Int, Unicode

from appliance.hub.log_in_tries import LogInTries, TriesAllowed
from appliance.researcher.account import NotAResearcherError, researcher_account

PROVIDER_SECONDS = 20.0  # how long a provider may take to answer
_EXPIRES = 7  # the field of /etc/shadow that says on which day an account ends (shadow(5))


class TooManyTriesError(HTTPError):
    """A log-in that is not tried, with what its page and its header say."""

    def __init__(self, wait: int) -> None:
        super().__init__(429)
        self.jupyterhub_message = f"Too many tries to log in. Try again in {_minutes(wait)}."
        self.headers = {"Retry-After": str(wait)}


class ProviderError(HTTPError):
    """A log-in that cannot be judged, since the one who judges does not answer."""

    def __init__(self, provider: str) -> None:
        super().__init__(503)
        self.jupyterhub_message = (
            f"{provider}, which says who you are, does not answer. Who is logged in stays so, and servers go on. "
            "Try again later, or tell the facility's operators."
        )


class LimitedTries:
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
        name, address = self.normalize_username(data["username"]), handler.request.remote_ip  # type: ignore[attr-defined]
        if wait := self._tries.begin(name, address):
            self.log.warning(  # type: ignore[attr-defined]
                "Too many tries to log in (%.32r@%s): refused for %d s", name, address, wait
            )
            raise TooManyTriesError(wait)
        found = await super().authenticate(handler, data)  # type: ignore[misc]
        if found:
            self._tries.succeeded(name, address)
        return found


class ResearchersOnly:
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


class _Directory(LDAPAuthenticator):  # type: ignore[misc]
    """`LDAPAuthenticator` in threads, for its library waits for the directory, and with the facility's groups."""

    groups: Mapping[str, str] = Dict().tag(config=True)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="directory")

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Any:
        """Return name and groups, or None for a wrong password; raises `ProviderError`."""
        asked = asyncio.get_running_loop().run_in_executor(
            self._threads, asyncio.run, super().authenticate(handler, data)
        )
        try:
            found = await asyncio.wait_for(asked, PROVIDER_SECONDS)
        except (LDAPExceptionError, TimeoutError) as error:
            self.log.error("The directory %s does not answer: %s", self.server_address, error)
            raise ProviderError("The directory") from error
        if found:
            found["groups"] = mapped(self.groups, found.pop("auth_state")["ldap_groups"])
        return found


class DirectoryAuthenticator(LimitedTries, ResearchersOnly, _Directory):
    """A directory's passwords, and its groups."""


class ProviderLogIn(OAuthLoginHandler):  # type: ignore[misc]
    """Sends a browser to the provider, once it is known where that wants it."""

    async def get(self) -> None:
        """Redirect; raises `ProviderError`."""
        await self.authenticator.discover()
        super().get()


class ProviderAuthenticator(ResearchersOnly, GenericOAuthenticator):  # type: ignore[misc]
    """An OpenID Connect provider."""

    login_handler = ProviderLogIn
    issuer: str = Unicode().tag(config=True)

    async def discover(self) -> None:
        """Ask the provider for its addresses, on first use (OpenID Connect Discovery 1.0); raises `ProviderError`."""
        if self.token_url:  # type: ignore[has-type]
            return
        url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            told = await self.httpfetch(url, label="asking for the provider's addresses")
        except (HttpClientError, HTTPError, OSError) as error:
            self.log.error("%s: %s", url, error)
            raise ProviderError(self.login_service) from error
        self.authorize_url, self.userdata_url = told["authorization_endpoint"], told["userinfo_endpoint"]
        self.token_url = told["token_endpoint"]

    async def authenticate(self, handler: Any, data: Any = None, **words: Any) -> Any:
        """Return name and groups; raises `ProviderError` where the provider does not answer."""
        await self.discover()
        try:
            return await super().authenticate(handler, data, **words)
        except (HttpClientError, OSError) as error:
            self.log.error("%s: %s", self.issuer, error)
            raise ProviderError(self.login_service) from error


def mapped(groups: Mapping[str, str], theirs: Iterable[str]) -> list[str]:
    """Return the facility's groups for those of a provider, sorted; others have none here."""
    return sorted({groups[name] for name in theirs if name in groups})


def _has_expired(name: str) -> bool:
    shadow = subprocess.run(["getent", "shadow", name], capture_output=True, text=True, check=True).stdout
    day = shadow.strip().split(":")[_EXPIRES]
    today = (datetime.datetime.now(datetime.UTC).date() - datetime.date(1970, 1, 1)).days
    return bool(day) and int(day) <= today


def _minutes(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return "a minute" if minutes == 1 else f"{minutes} minutes"
