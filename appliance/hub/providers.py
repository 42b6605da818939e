"""Log-in by a directory's passwords, or at an OpenID Connect provider."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPBindError, LDAPExceptionError
from ldapauthenticator import LDAPAuthenticator
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthLoginHandler
from tornado.httpclient import HTTPClientError
from tornado.web import HTTPError
from traitlets import Dict, Unicode

from appliance.hub.authenticator import LimitedTries, NotJudgedError, ResearchersOnly
from appliance.hub.provider_answers import UnfitProviderError, addresses, mapped

PROVIDER_SECONDS = 20  # how long a provider may take to answer


class ProviderError(NotJudgedError):
    """A log-in that cannot be judged, since the one who judges does not answer, or answers what cannot be used."""

    def __init__(self, provider: str, fault: str = "") -> None:
        said = f"cannot be used: {fault}" if fault else "does not answer"
        way = "Tell the facility's operators." if fault else "Try again later, or tell the facility's operators."
        super().__init__(
            f"{provider}, which says who you are, {said}. Who is logged in stays so, and servers go on. {way}"
        )


class _Directory(LDAPAuthenticator):  # type: ignore[misc]
    """`LDAPAuthenticator` in threads, for its library waits for the directory, and with the facility's groups."""

    groups: Mapping[str, str] = Dict().tag(config=True)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="directory")

    def get_connection(self, userdn: str, password: str) -> ldap3.Connection | None:
        """As the parent class, which would wait for ever: a directory that is silent must not hold the threads."""
        server = ldap3.Server(
            self.server_address,
            port=self.server_port,
            use_ssl=self.tls_strategy.name == "on_connect",
            tls=ldap3.Tls(**self.tls_kwargs),
            connect_timeout=PROVIDER_SECONDS // 2,
        )
        bind = ldap3.AUTO_BIND_NO_TLS if server.ssl else ldap3.AUTO_BIND_TLS_BEFORE_BIND
        try:
            return ldap3.Connection(
                server, user=userdn, password=password, auto_bind=bind, receive_timeout=PROVIDER_SECONDS // 2
            )
        except LDAPBindError:
            return None

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
            found = addresses(self.issuer, told)
        except UnfitProviderError as error:
            self.log.error("%s: the provider cannot be used: %s", url, error)
            raise ProviderError(self.login_service, str(error)) from error
        except (HTTPClientError, HTTPError, OSError, ValueError) as error:
            self.log.error("%s: %s", url, error)
            raise ProviderError(self.login_service) from error
        self.authorize_url, self.token_url, self.userdata_url = found.authorize, found.token, found.userdata

    async def authenticate(self, handler: Any, data: Any = None, **words: Any) -> Any:
        """Return name and groups; raises `ProviderError` where the provider does not answer."""
        await self.discover()
        try:
            return await super().authenticate(handler, data, **words)
        except (HTTPClientError, OSError) as error:
            self.log.error("%s: %s", self.issuer, error)
            if isinstance(error, HTTPClientError) and error.code < 500:
                raise HTTPError(403, f"{self.login_service} refused the log-in. Log in again.") from error
            raise ProviderError(self.login_service) from error
